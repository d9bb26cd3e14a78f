"""Client of an OpenAI-compatible chat server, for judges and writers: its address, its key, many calls at once."""

import logging
import os
import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import ConfigDict, Field, field_validator

from ringfence.core.errors import RingfenceError
from ringfence.core.settings import StrictConfig, environment_name
from ringfence.data.conversations import Messages
from ringfence.generation import addresses
from ringfence.generation.base import Answer, Failure, OnAnswers, Request, Sampling, require_uncut, row_seed
from ringfence.generation.chat_transport import Reply, Transport

OPENAI = "https://api.openai.com/v1"
HOPELESS = 20  # calls; when so many have failed and none has been answered, the rest is not tried

SEED_BITS = 31  # which any server takes
_CUT_OFF = ("length", "content_filter")  # reasons to stop that are not the answer's own end

Outcome = Reply | Failure
Asked = TypeVar("Asked", bound=Hashable)
logger = logging.getLogger(__name__)


class ChatAddress(StrictConfig):
    """Where a model is, and how the server is reached."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    who: ClassVar[str] = "model"
    """what errors call it"""

    model: str | None = Field(None, min_length=1)
    """as the server names it"""
    base_url: str = OPENAI
    """where ``/chat/completions`` is, without it"""
    api_key_env: str | None = None
    """name of the environment variable that holds the key, never the key; null: the one that belongs to the address,
    such as ``OPENAI_API_KEY`` to OpenAI's. [Which key goes where](security.md#keys)"""
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """the request's key for the length of the answer; OpenAI's reasoning models want the second"""
    max_retries: int = Field(5, ge=0, le=20)
    """more tries of a call that failed in a way that may pass"""
    timeout: float = Field(60.0, gt=0)
    """seconds to wait for the server"""
    concurrency: int = Field(16, ge=1, le=256)
    """calls at once"""

    @field_validator("base_url")
    @classmethod
    def _is_plain(cls, url: str) -> str:
        addresses.origin(url)
        return url.rstrip("/")

    @field_validator("api_key_env")
    @classmethod
    def _is_a_name(cls, name: str | None) -> str | None:
        return None if name is None else environment_name(name)


class ChatServer(ChatAddress):
    """Where a model is, and how it is called."""

    model: str = Field(min_length=1)
    """as the server names it; a dated name, such as ``gpt-4o-2024-08-06``, keeps results comparable"""

    def secret(self) -> str | None:
        """The key, or None for a server of one's own.

        Raises :class:`RingfenceError` if there must be one, if what the variable holds is none, and if the user's own
        configuration does not pair the variable with the address.
        """
        variable = self.api_key_env or addresses.variable_of(self.base_url)
        key = os.environ.get(variable, "").strip() if variable else ""
        who = f"{self.who} {self.model}"
        if not key and addresses.origin(self.base_url) == addresses.origin(OPENAI):
            paired = variable is not None and addresses.is_paired(variable, self.base_url)
            raise RingfenceError(
                f"{who}: no key; set the environment variable {variable if paired else 'that api_key_env names'}"
            )
        if not key or variable is None:
            return None
        if not addresses.is_paired(variable, self.base_url):
            at = addresses.origin(self.base_url)
            raise RingfenceError(
                f"{who}: the key in {variable} does not belong to {at}; if it is to go there, say so once in your own "
                f"environment: {addresses.VARIABLE}='{at}={variable}'"
            )
        if not all("!" <= character <= "~" for character in key):
            raise RingfenceError(f"{who}: the environment variable {variable} holds no key")
        return key

    def body(self, messages: Messages, **settings: Any) -> dict[str, Any]:
        """The body of a chat completion."""
        # Half a surrogate pair, from JSON, cannot be sent.
        sent = [{**one, "content": one["content"].encode("utf-8", "replace").decode("utf-8")} for one in messages]
        return {"model": self.model, "messages": sent, **settings}


class Tally:
    """Whether anything has come at all: a server that is down is not asked about thousands of rows."""

    def __init__(self) -> None:
        self.failed, self.answered, self.reason = 0, False, ""
        self._lock = threading.Lock()

    def hopeless(self, outcome: Outcome) -> bool:
        """Note ``outcome``; True once :data:`HOPELESS` calls have failed and none has been answered.

        A row that a server refuses says nothing about the next one.
        """
        with self._lock:
            if isinstance(outcome, Reply):
                self.answered = True
            elif not outcome.of_row:
                self.failed, self.reason = self.failed + 1, outcome.reason
            return not self.answered and self.failed >= HOPELESS


def run_all(
    answer: Callable[[Asked], Outcome],
    calls: Iterable[Asked],
    concurrency: int,
    stop: threading.Event,
    on_done: Callable[[int], None] | None = None,
) -> dict[Asked, Outcome]:
    """What ``answer`` makes of every call, ``concurrency`` at a time; ``on_done`` is told 1 for each that is done.

    The first exception, Ctrl-C too, sets ``stop``, drops the calls that have not begun, waits for the others, and is
    raised.
    """
    with ThreadPoolExecutor(concurrency, thread_name_prefix="server") as pool:
        futures: dict[Future[Outcome], Asked] = {pool.submit(answer, call): call for call in calls}
        found: dict[Asked, Outcome] = {}
        try:
            for done in as_completed(futures):
                found[futures[done]] = done.result()
                if on_done is not None:
                    on_done(1)
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return found


@dataclass(frozen=True)
class ChatGenerator:
    """A chat model behind an API as a :class:`Generator`. Nothing is kept: the same call asks everything again.

    Every row has a seed of its own. A server that heeds it, and computes a row alike whatever else it is busy with,
    gives the same text again; many do neither.
    """

    server: ChatServer
    tokenizer: ClassVar[None] = None
    resumes: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Who it is, and where."""
        return f"{self.server.who} {self.server.model} at {self.server.base_url}"

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, on_answers: OnAnswers | None = None
    ) -> list[Answer]:
        """See :class:`Generator`; an answer whose call failed says so in its ``failure``, and the first one is logged.

        Raises :class:`RingfenceError` for what is wrong for every row (see :mod:`ringfence.generation.chat_transport`),
        and if no call at all is answered.
        """
        self._require(sampling)
        if not requests:
            return []
        stop, tally = threading.Event(), Tally()
        with closing(Transport(self.server, self.server.secret(), stop)) as transport:

            def answer(place: int) -> Outcome:
                outcome = transport.ask(self._body(requests[place], sampling))
                if tally.hopeless(outcome):
                    raise self._nothing(tally.failed, tally.reason)
                return outcome

            found = run_all(answer, range(len(requests)), self.server.concurrency, stop, on_answers)
        outcomes = [found[place] for place in range(len(requests))]
        self._warn(requests, outcomes)
        return [_answer(outcome) for outcome in outcomes]

    def _require(self, sampling: Sampling) -> None:
        """Raise :class:`RingfenceError` for what cannot be drawn as asked."""
        require_uncut(self.name, sampling)

    def _drawn(self, sampling: Sampling) -> dict[str, Any]:
        """How to draw, as the body of a request has it."""
        return {"temperature": sampling.temperature}

    def _warn(self, requests: Sequence[Request], outcomes: Sequence[Outcome]) -> None:
        """Log the first failure. Raise if all calls failed and not for what is the matter with their rows."""
        failed = [(asked, one) for asked, one in zip(requests, outcomes, strict=True) if isinstance(one, Failure)]
        if not failed:
            return
        lasting = [one for _, one in failed if not one.of_row]
        if lasting and len(failed) == len(requests):
            raise self._nothing(len(requests), lasting[-1].reason)
        asked, first = failed[0]
        which = f"{len(failed)} of {len(requests)} calls failed, at first for {asked.origin or asked.id}"
        logger.warning("%s: %s: %s", self.name, which, first.reason)

    def _nothing(self, calls: int, reason: str) -> RingfenceError:
        return RingfenceError(
            f"{self.name}: none of {calls} calls was answered, at last: {reason}; mend that and run this again, what "
            "is finished is kept"
        )

    def _body(self, asked: Request, sampling: Sampling) -> dict[str, Any]:
        row = (asked.id, asked.sample) if asked.sample else (asked.id,)
        return self.server.body(
            asked.messages,
            **{self.server.token_limit: sampling.max_new_tokens},
            **self._drawn(sampling),
            seed=row_seed(SEED_BITS, sampling.seed, *row),
        )


def _answer(outcome: Outcome) -> Answer:
    if isinstance(outcome, Failure):
        return Answer("", False, failure=outcome)
    return Answer(outcome.text.strip(), outcome.finish not in _CUT_OFF, outcome.finish)
