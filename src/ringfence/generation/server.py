"""A server that holds a run's weights, as a generator: it is asked once its weights are seen to be the run's.

Before the first answer, what it says of a few fixed tokens is compared with the run's fingerprint
(:mod:`ringfence.generation.self_check`), in both ways that servers have:

- the tokens of a prompt, by the completions' ``echo`` with ``logprobs``; vLLM then reads no prefix cache;
- the likeliest first tokens of an answer, by chat completions with ``top_logprobs``. These go by the server's own chat
  template, and by its prefix cache, in which another adapter of the same name may have left its own
  (https://github.com/vllm-project/vllm/issues/30931).
"""

import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.generation.base import Failure, Sampling, require_uncut
from ringfence.generation.chat_api import ChatGenerator, ChatServer
from ringfence.generation.chat_transport import Transport
from ringfence.generation.config import ServerSettings
from ringfence.generation.self_check import Check, Fingerprint, compare

TOP = 20
"""first tokens that a server is asked for, the most that OpenAI's API takes"""
_TOKENS, _FIRST = "log probabilities of prompts", "log probabilities of first tokens"


@dataclass(frozen=True)
class ServedGenerator(ChatGenerator):
    """The model of a run behind a server, drawn from as in this process."""

    check: Check
    """what is known of its weights"""
    extras: bool = True
    """see :class:`ringfence.generation.config.ServerSettings`"""

    def _require(self, sampling: Sampling) -> None:
        if not self.extras:
            require_uncut(self.name, Sampling(min_p=sampling.min_p))

    def _drawn(self, sampling: Sampling) -> dict[str, Any]:
        """All that a server would else take from the model's ``generation_config``."""
        said = {**super()._drawn(sampling), "top_p": sampling.top_p}
        if not self.extras:
            return said
        # The openai package sends what it does not know in a part of its own.
        return {**said, "extra_body": {"top_k": -1, "min_p": sampling.min_p, "repetition_penalty": 1.0}}


def open_server(settings: ServerSettings, model: str, fingerprint: Fingerprint) -> ServedGenerator:
    """What the server of ``settings`` calls ``model``, once it is seen to have the weights of ``fingerprint``.

    Raises :class:`RingfenceError` as :func:`check_server` does.
    """
    server = settings.named(model)
    check = check_server(server, fingerprint, settings.dtype, settings.require_check)
    return ServedGenerator(server, check, settings.extras)


def check_server(server: ChatServer, fingerprint: Fingerprint, dtype: str | None, required: bool) -> Check:
    """Whether ``server`` answers with the weights of ``fingerprint``.

    dtype:    number format that it computes in, if it is not the fingerprint's
    required: whether a check that cannot be made raises

    Raises :class:`RingfenceError` if it cannot be reached, has no model of that name, or has other weights.
    """
    who = f"{server.who} {server.model} at {server.base_url}"
    with closing(Transport(server, server.secret(), threading.Event())) as transport:
        _require_model(who, server, transport.models())
        found = {
            _TOKENS: _of_tokens(who, server, transport, fingerprint, dtype),
            _FIRST: _of_first(who, server, transport, fingerprint, dtype),
        }
    made = [one for one in found.values() if isinstance(one, Check)]
    refused = [f"{how}: {one.reason}" for how, one in found.items() if isinstance(one, Failure)]
    passed = [one for one in made if one.state == "passed"]
    check = next(iter(passed or made), Check("not offered", "; ".join(refused)))
    if required and check.state != "passed":
        raise RingfenceError(f"{check.sentence(who)}; generator.require_check is set")
    return check


def _require_model(who: str, server: ChatServer, names: tuple[str, ...] | Failure) -> None:
    if isinstance(names, Failure):
        if not names.of_row:
            raise RingfenceError(f"{who}: {names.reason}; is the server up, and the address right?")
        return
    if server.model not in names:
        raise RingfenceError(
            f"{who}: the server has no model of that name.{did_you_mean(server.model, names)} vLLM serves an adapter "
            "as NAME by --lora-modules NAME=FOLDER; or say what it is called by generator.model (generator.base_model)"
        )


def _of_tokens(
    who: str, server: ChatServer, transport: Transport, fingerprint: Fingerprint, dtype: str | None
) -> Check | Failure:
    measured: list[float] = []
    for text in fingerprint.texts:
        values = transport.score(server.model, text.ids)
        if isinstance(values, Failure):
            return _refused(who, values)
        measured += values
    return compare(who, fingerprint.of_tokens(), measured, _TOKENS, dtype)


def _of_first(
    who: str, server: ChatServer, transport: Transport, fingerprint: Fingerprint, dtype: str | None
) -> Check | Failure:
    said: list[Sequence[tuple[str, float]]] = []
    for text in fingerprint.texts:
        asked = {server.token_limit: 1, "temperature": 1.0, "top_p": 1.0, "logprobs": True, "top_logprobs": TOP}
        reply = transport.probe(server.body([{"role": "user", "content": text.question}], **asked))
        if isinstance(reply, Failure):
            return _refused(who, reply)
        if not reply.top:
            return Failure("none in the answer", of_row=True)
        said.append(reply.top)
    return compare(who, *fingerprint.of_first(said), _FIRST, dtype)


def _refused(who: str, failure: Failure) -> Failure:
    """``failure``, if the server is well and has not what it was asked for. Raises :class:`RingfenceError` else."""
    if not failure.of_row:
        raise RingfenceError(f"{who}: {failure.reason}; mend that and run this again, what is finished is kept")
    return failure
