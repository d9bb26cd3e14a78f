"""Answers of an engine: those of the plain model, by seeds that do not depend on the batch, after the self-check."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from transformers import PreTrainedModel

import scripted
import tiny
from ringfence.core.errors import RingfenceError
from ringfence.generation import HfGenerator, Request, Sampling
from ringfence.generation.config import GENERATORS, VllmSettings
from ringfence.generation.fingerprint import record
from ringfence.generation.vllm import VllmGenerator, room_of
from ringfence.models.vllm import Room
from scripted import Scripted

REQUESTS = [
    Request("a", [{"role": "user", "content": "hi"}], 0),
    Request("b", [{"role": "user", "content": "why?"}], 1),
]


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return tiny.shaken(tiny.model().eval(), scale=0.3)


@pytest.fixture(scope="module")
def adapter(model: PreTrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    scripted.adapter(folder, model, scale=0.3)
    return folder


def generator(backend: Scripted, folder: Path | None = None, **room: int) -> VllmGenerator:
    """With the fingerprint that PEFT gives for ``folder``."""
    from ringfence.models.adapters import load_adapter

    plain = tiny.shaken(tiny.model().eval(), scale=0.3)
    tuned = plain if folder is None else load_adapter(plain, folder).eval()
    return VllmGenerator(scripted.engine(backend, **room), record(tuned, tiny.tokenizer(), "weights"), folder)


def texts(one: VllmGenerator | HfGenerator, requests: Sequence[Request], sampling: Sampling) -> list[tuple[str, bool]]:
    return [(answer.text, answer.ended) for answer in one.generate(requests, sampling)]


def test_greedy_answers_are_those_of_the_model_in_process(model: PreTrainedModel, adapter: Path) -> None:
    sampling = Sampling(max_new_tokens=8, temperature=0)
    plain = HfGenerator(model, tiny.tokenizer())
    assert texts(generator(Scripted(model)), REQUESTS, sampling) == texts(plain, REQUESTS, sampling)
    tuned = texts(generator(Scripted(model), adapter), REQUESTS, sampling)
    assert tuned != texts(plain, REQUESTS, sampling)


def test_a_row_has_a_seed_of_its_own_and_what_ends_an_answer_is_said(model: PreTrainedModel) -> None:
    backend, drawn = Scripted(model), list[int]()
    one, sampling = generator(backend), Sampling(max_new_tokens=6, temperature=0.9, seed=3, top_p=0.8, min_p=0.1)
    both = one.generate(REQUESTS, sampling, drawn.append)
    assert drawn == [1, 1]
    assert one.generate(REQUESTS[::-1], sampling)[::-1] == both
    first, second = (one._draw(request, sampling) for request in REQUESTS)
    assert first.seed != second.seed
    assert (first.temperature, first.top_p, first.min_p, first.stop, first.max_tokens) == (0.9, 0.8, 0.1, (2,), 6)
    assert one._draw(REQUESTS[0], Sampling(temperature=0)).seed is None
    assert one.generate([], sampling) == []


def test_no_answer_before_the_check(model: PreTrainedModel, adapter: Path) -> None:
    backend = Scripted(model)
    one = generator(backend, adapter)
    assert one.check.state == "passed"
    assert one.check.share == pytest.approx(1, abs=1e-3)
    asked = len(backend.asked)
    one.generate(REQUESTS, Sampling(max_new_tokens=1))
    assert len(backend.asked) == asked + 1, "once"
    left_out = generator(Scripted(model, leaves_out=True), adapter)
    with pytest.raises(RingfenceError, match=r"^vLLM with .* nearer to the base model's: is the adapter applied"):
        left_out.generate(REQUESTS, Sampling())
    with pytest.raises(RingfenceError, match="does not answer with this run's weights"):
        generator(Scripted(model, noise=0.01)).generate(REQUESTS, Sampling())


def test_an_adapter_too_weak_to_be_seen_is_found_out_where_it_changes_no_bit(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    scripted.adapter(tmp_path, model, scale=1e-4)
    assert generator(Scripted(model), tmp_path).check.state == "blind"
    with pytest.raises(RingfenceError, match="to the bit those without the adapter"):
        generator(Scripted(model, leaves_out=True), tmp_path).generate(REQUESTS, Sampling())


def test_a_prompt_without_room_is_named(model: PreTrainedModel) -> None:
    one = generator(Scripted(model), max_length=20)
    with pytest.raises(RingfenceError, match=r"^a: \d+ tokens, and the engine has room for 20 .*generator.max_length"):
        one.generate(REQUESTS, Sampling())


def test_settings_say_what_the_engine_may_take() -> None:
    settings = GENERATORS.parse({"kind": "vllm", "memory": 0.4, "cache_gib": 2, "eager": True, "max_length": 256})
    assert isinstance(settings, VllmSettings)
    assert room_of(settings, 16) == Room(0.4, 2, True, 256, 16)
    assert settings.identity() == GENERATORS.parse("vllm").identity() == {"kind": "vllm"}
    assert GENERATORS.parse({"vllm": {"merge": True}}).identity() == {"kind": "vllm", "merge": True}
