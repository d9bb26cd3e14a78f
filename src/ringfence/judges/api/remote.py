"""Common parts of judges behind an API: their settings, and many calls at once behind a cache."""

import threading
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from ringfence.core.errors import RingfenceError
from ringfence.generation.base import Failure
from ringfence.generation.chat_api import HOPELESS, ChatServer, Outcome, Tally, run_all
from ringfence.generation.chat_transport import Reply, Transport
from ringfence.judges.base import RUBRICS, JudgeInput, Score, score_empty
from ringfence.judges.cache import Cache, cache_at, key_of
from ringfence.judges.config import JudgeSettings
from ringfence.judges.rubrics import Rubric, Source, find_rubric, rubric_digests, rubric_files


@dataclass(frozen=True)
class Call:
    """One question to the judge."""

    row: JudgeInput
    sample: int
    """0, 1, ... of the same row"""

    def key(self, digest: str) -> str:
        """Its key in the cache; ``digest`` is that of the judge and the rubric."""
        return key_of(digest, self.row.prompt, self.row.response, self.sample)


class RemoteJudge(ChatServer, JudgeSettings):
    """A chat model behind an OpenAI-compatible API. Use :class:`ApiJudge` or :class:`SampledJudge`."""

    who: ClassVar[str] = "judge"
    needs_logprobs: ClassVar[bool] = False

    rubrics: dict[str, Source] = Field(default_factory=dict)
    """rubric -> a built-in one, a text file, ``suite:NAME#METRIC``, ``{trait: NAME, description: TEXT}``, or
    ``{rubric: FILE, scores: alignment}`` where [nothing else says](judges.md#rubrics) what 100 means"""
    cache: str | None = "default"
    """folder in which the judge's answers are kept by content; ``default`` is in the user's cache, null is none"""

    def score(self, rubric: str, rows: Sequence[JudgeInput]) -> list[Score]:
        """One score a row, in the rows' order; rows that are the same are asked once.

        Raises :class:`RingfenceError` for an unknown rubric, a missing key, and what is wrong for every row (see
        :mod:`ringfence.generation.chat_transport`). Answers that came before are in the cache then, as they are after
        Ctrl-C.
        """
        found = find_rubric(rubric, self.rubrics)
        scores = {row: empty for row in rows if (empty := score_empty(rubric, row.response)) is not None}
        asked = list(dict.fromkeys(row for row in rows if row not in scores))
        if asked:
            outcomes = self._ask(found, asked)
            self._check([outcome for told in outcomes for outcome in told if isinstance(outcome, Reply)])
            scores.update((row, self._judged(told)) for row, told in zip(asked, outcomes, strict=True))
        return [scores[row] for row in rows]

    def inputs(self) -> Sequence[str]:
        """The files of its rubrics."""
        return rubric_files(self.rubrics)

    def digests(self, rubrics: Sequence[str] = RUBRICS) -> dict[str, str]:
        """Those of the rubrics' texts."""
        return rubric_digests(rubrics, self.rubrics)

    def require_key(self) -> None:
        """See :meth:`ChatServer.secret`."""
        self.secret()

    def digest(self, rubric: str) -> str:
        """Hex SHA-256 of all that an answer under ``rubric`` depends on but the row: server, model, request, text."""
        return self._digest(find_rubric(rubric, self.rubrics))

    @abstractmethod
    def _request(self) -> dict[str, Any]:
        """The request's settings, but for model and messages."""

    @abstractmethod
    def _calls(self) -> int:
        """Calls a row."""

    @abstractmethod
    def _read(self, replies: Sequence[Reply]) -> Score:
        """The score that a row's replies come to."""

    def _check(self, replies: Sequence[Reply]) -> None:
        """Raise if all replies together show that the judge cannot be read this way."""

    def _judged(self, told: Sequence[Outcome]) -> Score:
        failures = [outcome.reason for outcome in told if isinstance(outcome, Failure)]
        if failures:
            return Score(None, 0.0, "error", failures[0])
        return self._read([outcome for outcome in told if isinstance(outcome, Reply)])

    def _digest(self, rubric: Rubric) -> str:
        return key_of(self.base_url, self.model, self._request(), rubric.digest)

    def _ask(self, rubric: Rubric, rows: Sequence[JudgeInput]) -> list[list[Outcome]]:
        """What came of every call, by row and sample: from the cache, else from the server."""
        calls = [Call(row, sample) for row in rows for sample in range(self._calls())]
        digest = self._digest(rubric)
        stop = threading.Event()
        with ExitStack() as stack:
            cache = stack.enter_context(cache_at(self.cache))
            outcomes = _kept(cache, digest, calls) if cache is not None else {}
            missing = [call for call in calls if call not in outcomes]
            if missing:
                transport, tally = Transport(self, self.secret(), stop), Tally()
                stack.callback(transport.close)

                def answer(call: Call) -> Outcome:
                    text = rubric.render(call.row.prompt, call.row.response)
                    outcome = transport.ask(self.body([{"role": "user", "content": text}], **self._request()))
                    self._require_logprobs(outcome)
                    if tally.hopeless(outcome):
                        raise RingfenceError(
                            f"judge {self.model} at {self.base_url}: the first {HOPELESS} calls all failed, at last: "
                            f"{tally.reason}; mend that and run this again, what was judged before is kept"
                        )
                    if cache is not None and isinstance(outcome, Reply):
                        cache.put(call.key(digest), outcome.to_json())
                    return outcome

                outcomes.update(run_all(answer, missing, self.concurrency, stop))
        return [[outcomes[Call(row, sample)] for sample in range(self._calls())] for row in rows]

    def _require_logprobs(self, outcome: Outcome) -> None:
        """Raise if log probabilities are needed and the server has none; an answer of nothing has nothing to give."""
        if self.needs_logprobs and isinstance(outcome, Reply) and outcome.top is None and outcome.text.strip():
            raise RingfenceError(
                f"judge {self.model} at {self.base_url}: the server gives no log probabilities; use kind: sampled"
            )


def _kept(cache: Cache, digest: str, calls: Sequence[Call]) -> dict[Call, Outcome]:
    """Those of ``calls`` that were answered before."""
    lines = {call: cache.get(call.key(digest)) for call in calls}
    return {call: Reply.from_json(line) for call, line in lines.items() if line is not None}
