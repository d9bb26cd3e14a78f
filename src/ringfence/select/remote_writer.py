"""Write texts for rows by a chat model behind an OpenAI-compatible API: the request, and what becomes of the answer.

Every row is sent to the server, with a seed of its own that hangs on the selection's seed and the row's place in the
pool. A server that heeds it, and computes a row alike whatever else it is busy with, gives the same text again; many do
neither. Nothing is kept but the finished shards.
"""

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ringfence.core.errors import RingfenceError
from ringfence.data.conversations import Conversation
from ringfence.judges.server import ChatServer, Outcome, Tally, run_all
from ringfence.judges.transport import Failure, Transport
from ringfence.select.base import Candidate, Dropped, Mapped
from ringfence.select.shards import EMPTY

FAILED, REFUSED = "the server failed", "refused by the server"
_CUT_OFF = ("length", "content_filter")  # reasons to stop that are not the answer's own end

logger = logging.getLogger(__name__)


class RemoteWriter(ChatServer):
    """The server and the model. Rows are sent to it."""

    who: ClassVar[str] = "writer"

    def identity(self) -> dict[str, Any]:
        """What an answer depends on; the rest says how the server is reached."""
        return self.model_dump(include={"model", "base_url", "token_limit"})


@dataclass(frozen=True)
class Writing:
    """A mapper that asks a server something about each row and puts its answer into the row."""

    writer: RemoteWriter
    max_new_tokens: int
    """tokens; answers that have not ended by then are dropped"""
    temperature: float
    seed: int
    ask: Callable[[Conversation], str]
    """what to say to the model"""
    put: Callable[[Conversation, str], Conversation]
    """the conversation with the answer in it"""

    def __call__(self, rows: Sequence[Candidate], on_rows: Callable[[int], None]) -> Mapped:
        """Rows with their new text. Rows whose answer is cut off, empty, or did not come are dropped.

        Raises :class:`RingfenceError` for what is wrong for every row (see :mod:`ringfence.judges.transport`), and if
        no call at all is answered.
        """
        kept, dropped = [], []
        for row, outcome in zip(rows, self._outcomes(rows, on_rows), strict=True):
            result = self._put(row, outcome)
            if isinstance(result, Candidate):
                kept.append(result)
            else:
                dropped.append(Dropped(result, row.conversation["origin"]))
        return Mapped(kept, dropped)

    def _outcomes(self, rows: Sequence[Candidate], on_rows: Callable[[int], None]) -> list[Outcome]:
        """What came of each row's call, in order."""
        if not rows:
            return []
        stop, tally = threading.Event(), Tally()
        with closing(Transport(self.writer, self.writer.secret(), stop)) as transport:

            def answer(place: int) -> Outcome:
                outcome = transport.ask(self._body(rows[place]))
                if tally.hopeless(outcome):
                    raise self._nothing(tally.failed, tally.reason)
                return outcome

            found = run_all(answer, range(len(rows)), self.writer.concurrency, stop, on_rows)
        outcomes = [found[place] for place in range(len(rows))]
        self._warn(rows, outcomes)
        return outcomes

    def _warn(self, rows: Sequence[Candidate], outcomes: Sequence[Outcome]) -> None:
        """Log the first failure. Raise if all calls failed and not for what is the matter with their rows."""
        failed = [(row, one) for row, one in zip(rows, outcomes, strict=True) if isinstance(one, Failure)]
        if not failed:
            return
        lasting = [one for _, one in failed if not one.of_row]
        if lasting and len(failed) == len(rows):
            raise self._nothing(len(rows), lasting[-1].reason)
        row, first = failed[0]
        which = f"{len(failed)} of {len(rows)} calls failed, at first for {row.conversation['origin']}"
        logger.warning("%s: %s: %s", self._name, which, first.reason)

    def _nothing(self, calls: int, reason: str) -> RingfenceError:
        return RingfenceError(
            f"{self._name}: none of {calls} calls was answered, at last: {reason}; mend that and run this again, "
            "finished shards are kept"
        )

    @property
    def _name(self) -> str:
        return f"{self.writer.who} {self.writer.model} at {self.writer.base_url}"

    def _body(self, row: Candidate) -> dict[str, Any]:
        return self.writer.body(
            self.ask(row.conversation),
            **{self.writer.token_limit: self.max_new_tokens},
            temperature=self.temperature,
            seed=row_seed(self.seed, row.index),
        )

    def _put(self, row: Candidate, outcome: Outcome) -> Candidate | str:
        """The changed row, or why it is dropped."""
        if isinstance(outcome, Failure):
            return REFUSED if outcome.of_row else FAILED
        if outcome.finish in _CUT_OFF:
            return "truncated"
        text = outcome.text.strip()
        return replace(row, conversation=self.put(row.conversation, text)) if text else EMPTY


def row_seed(seed: int, index: int) -> int:
    """The seed of the row at ``index`` of the pool: 31 bits, which any server takes."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{index}".encode()).digest()[:4], "big") >> 1
