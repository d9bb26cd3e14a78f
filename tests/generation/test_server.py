"""A scripted server that holds a tiny model, with its adapter or without, and what the self-check says of it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

import serving
import tiny
from loopback import Body, Fault, Loopback, Says, loopback
from ringfence.core.errors import RingfenceError
from ringfence.generation import Request, Sampling
from ringfence.generation.config import ServerSettings
from ringfence.generation.fingerprint import record
from ringfence.generation.self_check import Check, Fingerprint
from ringfence.generation.server import TOP, ServedGenerator, check_server
from ringfence.models.activations import without_adapters

UNKNOWN = Check("not offered", "not tried")
REFUSES = Fault(400, "logprobs are not supported")


@pytest.fixture(scope="module")
def model() -> PeftModel:
    torch.manual_seed(0)
    adapter = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    return get_peft_model(tiny.shaken(tiny.model()), adapter).eval()


@pytest.fixture(scope="module")
def fingerprint(model: PeftModel) -> Fingerprint:
    return record(model, tiny.tokenizer(), "tuned")


def score(model: PeftModel) -> Callable[[Body], list[float | None]]:
    return lambda body: serving.echo(model, body)


@pytest.fixture
def served(model: PeftModel) -> Iterator[Loopback]:
    with loopback(serving.chat(model, tiny.tokenizer()), own="") as state:
        state.models, state.score = ["tiny", "tuned"], score(model)
        yield state


def check(state: Loopback, fingerprint: Fingerprint, required: bool = False, **settings: Any) -> Any:
    server = ServerSettings(base_url=state.url, max_retries=0, **settings).named(settings.get("model", "tuned"))
    return check_server(server, fingerprint, None, required)


def test_a_server_with_the_adapter_passes_in_both_ways(served: Loopback, fingerprint: Fingerprint) -> None:
    found = check(served, fingerprint, required=True)
    assert (found.state, found.how) == ("passed", "log probabilities of prompts")
    assert found.share == pytest.approx(1, abs=1e-3)
    served.score = None  # as many servers: 404
    found = check(served, fingerprint, required=True)
    assert (found.state, found.how) == ("passed", "log probabilities of first tokens")
    assert found.tokens > TOP


def test_an_adapter_that_is_not_applied_raises_in_both_ways(
    served: Loopback, fingerprint: Fingerprint, model: PeftModel
) -> None:
    """The most common silent error; the second time the prompts are right and a stale prefix cache answers chats."""
    with without_adapters(model), pytest.raises(RingfenceError, match=r"log probabilities of prompts.*is the adapter"):
        check(served, fingerprint)

    right = score(model)

    def scored(body: Body) -> list[float | None]:
        for module in off:
            module._disable_adapters = False
        try:
            return right(body)
        finally:
            for module in off:
                module._disable_adapters = True

    served.score = scored
    off = [module for module in model.modules() if hasattr(module, "lora_A")]
    with without_adapters(model), pytest.raises(RingfenceError, match="log probabilities of first tokens differ"):
        check(served, fingerprint)


def test_a_server_without_log_probabilities_is_said_to_be_unchecked_or_refused(
    served: Loopback, fingerprint: Fingerprint
) -> None:
    served.score, served.answer = None, lambda _: Says("x")
    found = check(served, fingerprint)
    assert found.state == "not offered"
    assert "404 no such path" in found.how
    assert "none in the answer" in found.how
    with pytest.raises(RingfenceError, match=r"NOT CHECKED.*require_check is set"):
        check(served, fingerprint, required=True)


def test_a_server_that_refuses_or_leaves_out_log_probabilities_is_one_without(
    served: Loopback, fingerprint: Fingerprint
) -> None:
    """The second as vLLM's plug-in for Metal: status 200, and a None for all tokens."""
    served.faults = [Fault(500, "KeyError"), REFUSES]
    assert "500 KeyError; log probabilities of first tokens: 400 logprobs" in check(served, fingerprint).how
    served.score, served.faults = (lambda _: [None]), []
    assert check(served, fingerprint).how == "log probabilities of first tokens"


def test_another_model_name_lists_what_there_is(served: Loopback, fingerprint: Fingerprint) -> None:
    with pytest.raises(RingfenceError, match=r"no model of that name\. Did you mean \"tuned\"\?.*--lora-modules"):
        check(served, fingerprint, model="tuned-1")


def test_a_wrong_address_is_said(fingerprint: Fingerprint) -> None:
    server = ServerSettings(base_url="http://127.0.0.1:9/v1", max_retries=0).named("tuned")
    with pytest.raises(RingfenceError, match=r"at http://127\.0\.0\.1:9/v1: connection failed.*is the server up"):
        check_server(server, fingerprint, None, False)


def test_what_is_drawn_is_said_in_full(served: Loopback) -> None:
    """What is left out a server takes from the model's generation_config."""
    server = ServerSettings(base_url=served.url).named("tuned")
    asked, sampling = [Request("a", [{"role": "user", "content": "Hm?"}])], Sampling(8, 0.7, top_p=0.9, min_p=0.1)
    (answer,) = ServedGenerator(server, UNKNOWN).generate(asked, sampling)
    assert (answer.text, answer.ended) == ("As to Hm?", True)
    body = served.bodies[-1]
    drawn = {"temperature": 0.7, "top_p": 0.9, "top_k": -1, "min_p": 0.1, "repetition_penalty": 1.0}
    assert {key: body[key] for key in drawn} == drawn
    ServedGenerator(server, UNKNOWN, extras=False).generate(asked, Sampling(8, top_p=0.9))
    assert not {"top_k", "min_p", "repetition_penalty"} & served.bodies[-1].keys()
    with pytest.raises(RingfenceError, match="min_p"):
        ServedGenerator(server, UNKNOWN, extras=False).generate(asked, sampling)
