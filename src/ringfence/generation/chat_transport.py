"""Calls to an OpenAI-compatible server: the request, the reply, and which failures are retried.

Beside chat completions a server may score the tokens of a prompt, and list its models; where it does not, that is a
:class:`Failure` with ``of_row``.

Three things can come of a call:

- a :class:`Reply`
- a :class:`Failure`, after ``max_retries`` more tries, for what may pass: 408, 409, 429, 5xx, a broken connection, a
  timeout, an answer that is no chat completion; at once for what is about one row: too long, or a content filter
- :class:`RingfenceError` at once for what is wrong for every row: any other 4xx, and an account without credit
"""

import email.utils
import json
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, Field, ValidationError

from ringfence.core.errors import RingfenceError
from ringfence.generation.addresses import origin
from ringfence.generation.base import Failure

FIRST_DELAY = 0.5
"""seconds before the first retry; doubles with each, up to :data:`LONGEST_DELAY`, less up to a quarter by chance"""
LONGEST_DELAY = 8.0
LONGEST_ASKED = 120.0
"""seconds; a server that asks for a longer wait (Retry-After) is not waited for"""
OPENAI = "https://api.openai.com"
_HEADERS = frozenset(
    ["accept", "accept-encoding", "authorization", "connection", "content-length", "content-type", "host", "user-agent"]
)
"""what a server needs of a call; the rest may be the user's own"""
_PASSING = {408, 409, 429}
_NOT_READY = {401, 403, 502, 503, 504}
_OF_ONE_ROW = ("context_length_exceeded", "content_filter", "content_policy_violation")
_TOO_LONG = ("maximum context length", "context window")  # servers that give no code


@dataclass(frozen=True)
class Reply:
    """What a server answered."""

    text: str
    """the whole answer"""
    top: tuple[tuple[str, float], ...] | None
    """the first token's likeliest candidates with natural log probabilities; None if the server gave none"""
    finish: str | None = None
    """why the answer stops: ``stop`` at its own end, ``length`` at the limit; None if the server does not say"""

    def to_json(self) -> str:
        """As one line, without ``finish``, on which no judgement depends."""
        return json.dumps([self.text, self.top], ensure_ascii=True)

    @classmethod
    def from_json(cls, line: str) -> "Reply":
        """What :meth:`to_json` wrote."""
        text, top = json.loads(line)
        return cls(text, None if top is None else tuple((token, logprob) for token, logprob in top))


class Server(Protocol):
    """Where a model lives; :class:`ringfence.generation.chat_api.ChatServer` has these fields."""

    @property
    def who(self) -> str:
        """What errors call it, such as ``judge``."""
        ...

    @property
    def base_url(self) -> str: ...
    @property
    def timeout(self) -> float: ...
    @property
    def max_retries(self) -> int: ...


Said = TypeVar("Said")


class Stopped(Exception):
    """Another thread gave up, so this one does not go on trying."""


class Transport:
    """Chat completions from one server; safe to call from several threads."""

    def __init__(self, server: Server, key: str | None, stop: threading.Event) -> None:
        """``key`` None is for a server that wants none. Setting ``stop`` ends all waiting for a retry."""
        try:
            import openai
        except ImportError:
            raise RingfenceError(
                f"a {server.who} behind an API needs the package openai: run `pip install openai`"
            ) from None
        self._errors = openai
        self._server, self._stop, self._key = server, stop, key
        # Its own retries are off: they sleep through an interrupt and take a spent account for a busy server.
        http = openai.DefaultHttpxClient(
            follow_redirects=False, timeout=server.timeout, event_hooks={"request": [self._strip]}
        )
        self._client: Any = openai.OpenAI(
            api_key=key or "none", base_url=server.base_url, timeout=server.timeout, max_retries=0, http_client=http
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _strip(self, request: Any) -> None:
        """Leave out what the package adds of the user's own: OPENAI_ORG_ID, OPENAI_PROJECT_ID, OPENAI_CUSTOM_HEADERS.

        OpenAI itself gets them.
        """
        if origin(self._server.base_url) == OPENAI:
            return
        for name in [name for name in request.headers if not _is_plain(name.lower())]:
            del request.headers[name]

    def ask(self, request: Mapping[str, Any]) -> Reply | Failure:
        """Post ``request``, the body of a chat completion; see the module for what comes of it."""
        create = self._client.chat.completions.with_raw_response.create
        return self._tried(lambda: create(**request), _reply, self._refused)

    def probe(self, request: Mapping[str, Any]) -> Reply | Failure:
        """As :meth:`ask`, for a ``request`` with something in it that the server may well not have."""
        create = self._client.chat.completions.with_raw_response.create
        return self._tried(lambda: create(**request), _reply, self._not_offered)

    def score(self, model: str, ids: Sequence[int]) -> tuple[float, ...] | Failure:
        """(tokens - 1,) natural log probability of each of ``ids`` after the first, by the completions' ``echo``."""
        create = self._client.completions.with_raw_response.create
        asked = {"model": model, "prompt": list(ids), "max_tokens": 1, "temperature": 1.0, "echo": True, "logprobs": 1}
        return self._tried(lambda: create(**asked), lambda body: _scores(body, len(ids)), self._not_offered)

    def models(self) -> tuple[str, ...] | Failure:
        """What the server calls its models."""
        listed = self._client.models.with_raw_response.list
        return self._tried(listed, _names, self._not_offered)

    def _tried(
        self,
        call: Callable[[], Any],
        read: Callable[[bytes], Said | Failure],
        refused: Callable[[Any], tuple[Failure, float | None]],
    ) -> Said | Failure:
        """What ``read`` makes of the body that ``call`` brings, after some tries."""
        failure = Failure("not tried")
        for retry in range(self._server.max_retries + 1):
            if self._stop.is_set():
                raise Stopped
            try:
                return read(call().content)
            except self._errors.APIStatusError as error:
                failure, wait = refused(error)
            except self._errors.APITimeoutError:
                failure, wait = Failure(f"no answer within {self._server.timeout:g} s"), 0
            except self._errors.APIConnectionError as error:
                failure, wait = Failure(self._clean(f"connection failed ({error.__cause__ or error})")), 0
            except ValidationError:
                failure, wait = Failure("the answer is not a chat completion"), 0
            if wait is None:
                return failure
            last = retry == self._server.max_retries
            if not last and self._stop.wait(max(wait, 0) or _delay(retry)):
                raise Stopped
        return failure

    def _not_offered(self, error: Any) -> tuple[Failure, float | None]:
        """What a refusal comes to where a server may well not have what it was asked for."""
        if error.status_code in _PASSING | _NOT_READY:
            return self._refused(error)
        return Failure(f"{error.status_code} {self._said(error)}".strip(), of_row=True), None

    def _refused(self, error: Any) -> tuple[Failure, float | None]:
        status, code, said = error.status_code, error.code or "", self._said(error)
        failure = Failure(f"{status} {said}".strip())
        spent = "insufficient_quota" in (code, error.type)
        if (status in _PASSING or status >= 500) and not spent:
            wait = retry_after(error.response.headers)
            return failure, None if wait > LONGEST_ASKED else wait
        if status == 413 or code in _OF_ONE_ROW or any(words in said for words in _TOO_LONG):
            return replace(failure, of_row=True), None
        advice = "; see model, base_url and the key" if status in (401, 403, 404) else ""
        if 300 <= status < 400:
            advice = "; it sends the call on to another address, which is not followed: give that one as base_url"
        raise RingfenceError(f"{self._server.who} at {self._server.base_url}: {failure.reason}{advice}") from None

    def _said(self, error: Any) -> str:
        """The server's own words if it has any."""
        body = error.body
        said = body.get("message") if isinstance(body, dict) else None
        return self._clean(said if isinstance(said, str) else "")

    def _clean(self, text: str) -> str:
        """``text`` on one short line, without the key, which some servers repeat."""
        if self._key:
            text = text.replace(self._key, "[key]")
        text = " ".join(text.split())
        return text if len(text) <= 200 else f"{text[:197]}..."


class _Candidate(BaseModel):
    token: str
    logprob: float = Field(le=1e-3)  # rounding may lift it over 0; NaN is refused


class _Token(BaseModel):
    top_logprobs: list[_Candidate] = []


class _Logprobs(BaseModel):
    content: list[_Token] | None = None


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)


def _reply(body: bytes) -> Reply:
    """What an answer's JSON says. Raises ``ValidationError`` if it is no chat completion."""
    choice = _Completion.model_validate_json(body).choices[0]
    tokens = choice.logprobs.content if choice.logprobs else None
    text = choice.message.content or ""
    if tokens is None or (tokens and not tokens[0].top_logprobs):
        return Reply(text, None, choice.finish_reason)
    top = tuple((one.token, one.logprob) for one in tokens[0].top_logprobs) if tokens else ()
    return Reply(text, top, choice.finish_reason)


class _Scored(BaseModel):
    token_logprobs: list[float | None] = []


class _Echo(BaseModel):
    logprobs: _Scored | None = None


class _Echoed(BaseModel):
    choices: list[_Echo] = Field(min_length=1)


def _scores(body: bytes, tokens: int) -> tuple[float, ...] | Failure:
    """Log probabilities of all ``tokens`` but the first; a failure where they are not there, whatever the status."""
    try:
        scored = _Echoed.model_validate_json(body).choices[0].logprobs
    except ValidationError:
        return Failure("the answer is not a completion", of_row=True)
    found = [] if scored is None else scored.token_logprobs[1:tokens]
    kept = tuple(value for value in found if value is not None)
    if len(kept) != tokens - 1:
        return Failure(f"log probabilities of {len(kept)} of {tokens - 1} tokens of a prompt", of_row=True)
    return kept


class _Named(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Named]


def _names(body: bytes) -> tuple[str, ...] | Failure:
    try:
        return tuple(one.id for one in _Models.model_validate_json(body).data)
    except ValidationError:
        return Failure("the answer is not a list of models", of_row=True)


def _is_plain(header: str) -> bool:
    """Whether a header, in lower case, is the call's or the package's own; it marks its calls by x-stainless ones."""
    return header in _HEADERS or header.startswith("x-stainless-")


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a ``Retry-After`` header asks to wait, given as a number or as a date; 0 without a good one."""
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return 0.0
    return seconds if seconds > 0 else 0.0


def _delay(retry: int) -> float:
    return min(FIRST_DELAY * 2**retry, LONGEST_DELAY) * random.uniform(0.75, 1.0)
