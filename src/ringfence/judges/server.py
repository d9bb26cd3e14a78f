"""Client of an OpenAI-compatible chat server, for judges and writers: its address, its key, many calls at once."""

import os
import threading
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import ConfigDict, Field, field_validator

from ringfence.core.errors import RingfenceError
from ringfence.core.settings import Numbers, environment_name
from ringfence.judges import addresses
from ringfence.judges.transport import Failure, Reply

OPENAI = "https://api.openai.com/v1"
HOPELESS = 20  # calls; when so many have failed and none has been answered, the rest is not tried

Outcome = Reply | Failure
Asked = TypeVar("Asked", bound=Hashable)


class ChatServer(Numbers):
    """Where a model is, and how it is called."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    who: ClassVar[str] = "model"
    """what errors call it"""

    model: str = Field(min_length=1)
    """as the server names it; a dated name, such as ``gpt-4o-2024-08-06``, keeps results comparable"""
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

    def body(self, text: str, **settings: Any) -> dict[str, Any]:
        """The body of a chat completion that says ``text`` as the user."""
        text = text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair, from JSON, cannot be sent
        return {"model": self.model, "messages": [{"role": "user", "content": text}], **settings}


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
