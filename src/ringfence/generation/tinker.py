"""A server that speaks the protocol of Tinker's SDK: opened, asked for answers, and for log probabilities.

The SDK is the extra ``tinker``. The key is in ``TINKER_API_KEY`` and nowhere else; it goes to the address that the user
has given, and into no message. What the SDK would tell its makers of a session is off unless ``TINKER_TELEMETRY`` says
otherwise.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ringfence.core.errors import RingfenceError, install
from ringfence.data.encode import answered_ids, prompt_ids
from ringfence.generation.addresses import origin
from ringfence.generation.base import Answer, OnAnswers, Request, Sampling, row_seed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from ringfence.data.conversations import Messages

VARIABLE, _TELEMETRY = "TINKER_API_KEY", "TINKER_TELEMETRY"
PREFIX = "tinker:"
"""begins what ``run.json`` calls such a server; its address follows"""
_SEED_BITS, _FAREWELL = 31, 10.0  # seconds
logger = logging.getLogger(__name__)
T = TypeVar("T")


def sdk() -> Any:
    """The module ``tinker``. Raises :class:`RingfenceError` where it is not installed."""
    try:
        import tinker
    except ModuleNotFoundError:
        raise RingfenceError(f"tinker: the SDK is missing; {install('tinker')}") from None
    return tinker


def require_tinker(url: str) -> None:
    """Raise :class:`RingfenceError` for what is no address, and without the SDK or a key."""
    try:
        origin(url)
    except ValueError as error:
        raise RingfenceError(f"--tinker: {error}") from None
    if not os.environ.get(VARIABLE):
        raise RingfenceError(f"{VARIABLE}: is not set; put the key of {url} there (the SDK takes one that begins tml-)")
    sdk()


@contextmanager
def open_tinker(url: str) -> Iterator[Any]:
    """The SDK's ``ServiceClient`` of one session at ``url``, which ends with the block. Raises as above."""
    require_tinker(url)
    os.environ.setdefault(_TELEMETRY, "0")
    service, status = sdk().ServiceClient(base_url=url, api_key=os.environ[VARIABLE]), "errored"
    try:
        yield service
        status = "success"
    finally:
        try:
            service.close(status).result(_FAREWELL)
        except Exception as error:  # what was to be told, the work's result or its error, is told all the same
            logger.warning("%s did not hear that the session is over (%s); it will see", url, type(error).__name__)


def asked(ask: Callable[[], T]) -> T:
    """What ``ask``, calls of the SDK and nothing else, gives.

    Raises :class:`RingfenceError` for whatever they raise: one line without the key.
    """
    try:
        return ask()
    except Exception as error:  # the SDK's own errors, and what it raises of others' packages
        said = " ".join(str(error).split()).replace(os.environ.get(VARIABLE) or "\0", "***")
        raise RingfenceError(f"tinker: {type(error).__name__}: {said[:300]}") from None


@dataclass(frozen=True)
class TinkerGenerator:
    """Weights behind such a server, as the SDK's ``SamplingClient`` has them."""

    client: Any
    tokenizer: "PreTrainedTokenizerBase"
    name: str = "the model at the server"
    resumes: ClassVar[bool] = False

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, on_answers: OnAnswers | None = None
    ) -> list[Answer]:
        """See :class:`Generator`. The SDK holds back what the server cannot take at once."""
        if sampling.min_p > 0:
            raise RingfenceError(f"{self.name}: min_p is for models in this process; leave it at 0")
        futures = [asked(partial(self._ask, request, sampling)) for request in requests]
        answers = []
        for future in futures:
            (found,) = asked(future.result).sequences
            text = self.tokenizer.decode(found.tokens, skip_special_tokens=True).strip()
            answers.append(Answer(text, found.stop_reason == "stop", found.stop_reason))
            if on_answers is not None:
                on_answers(1)
        return answers

    def _ask(self, request: Request, sampling: Sampling) -> Any:
        types = sdk().types
        drawn = types.SamplingParams(
            max_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=row_seed(_SEED_BITS, sampling.seed, request.id, request.sample),
            stop=[self.tokenizer.eos_token_id],
        )
        prompt = types.ModelInput.from_ints(prompt_ids(self.tokenizer, request.messages))
        return self.client.sample(prompt, 1, drawn)


def answer_means(
    client: Any, tokenizer: "PreTrainedTokenizerBase", rows: Sequence[tuple["Messages", str]]
) -> list[float]:
    """Mean log probability (nats per token) of each answer's own tokens, by a ``SamplingClient``."""
    encoded = [answered_ids(tokenizer, messages, answer) for messages, answer in rows]
    found = token_logprobs(client, [one.input_ids for one in encoded])
    return [sum(each[-one.answer :]) / one.answer for each, one in zip(found, encoded, strict=True)]


def token_logprobs(client: Any, rows: Sequence[Sequence[int]]) -> list[list[float]]:
    """Of each row's tokens but the first, (tokens - 1,), the log probability after those before it."""
    inputs = [sdk().types.ModelInput.from_ints(list(row)) for row in rows]
    futures = [asked(partial(client.compute_logprobs, one)) for one in inputs]
    return [list(asked(future.result)[1:]) for future in futures]
