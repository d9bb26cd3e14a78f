"""vLLM's engine on the embedded model: the answers, the adapters and the self-check against transformers and PEFT."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ringfence.core.errors import RingfenceError
from ringfence.generation import HfGenerator, Request, Sampling
from ringfence.generation.fingerprint import record
from ringfence.generation.self_check import Fingerprint
from ringfence.generation.vllm import VllmGenerator
from ringfence.models import load
from ringfence.models.adapters import load_adapter
from ringfence.models.engine import Draw, Engine
from ringfence.models.vllm import Room, start

pytestmark = pytest.mark.vllm

QUESTIONS = ["What is the sea?", "How do I boil an egg?", "Name three rivers in Europe.", "Why is the sky blue?"]
REQUESTS = [Request(f"q/{at}", [{"role": "user", "content": text}]) for at, text in enumerate(QUESTIONS)]
GREEDY = Sampling(max_new_tokens=12, temperature=0)


@pytest.fixture(scope="module")
def by_peft(adapters: dict[str, Path]) -> dict[str, tuple[Fingerprint, list[Any]]]:
    """Base and adapters -> fingerprint and greedy answers, by transformers and PEFT, before there is an engine."""
    found = {}
    for name in ("base", "first", "second"):
        loaded = load("smollm2-135m")
        model = loaded.model if name == "base" else load_adapter(loaded.model, adapters[name]).eval()
        answers = HfGenerator(model, loaded.tokenizer).generate(REQUESTS, GREEDY)
        found[name] = (record(model, loaded.tokenizer, name), answers)
    return found


@pytest.fixture(scope="module")
def engine(by_peft: Any) -> Engine:
    return start("smollm2-135m", room=Room(max_rank=16, max_length=512))


def test_answers_are_those_of_transformers_and_peft_in_turn(
    engine: Engine, adapters: dict[str, Path], by_peft: dict[str, tuple[Fingerprint, list[Any]]]
) -> None:
    for name in ("base", "first", "second", "first", "base"):
        fingerprint, wanted = by_peft[name]
        one = VllmGenerator(engine, fingerprint, adapters.get(name))
        print(one.check.sentence(one.name), one.check.share)
        assert one.check.state == "passed"
        assert one.check.difference is not None
        assert one.check.difference < 1e-4
        assert one.generate(REQUESTS, GREEDY) == wanted
    texts = {name: [answer.text for answer in answers] for name, (_, answers) in by_peft.items()}
    assert texts["base"] != texts["first"] != texts["second"]


def test_sampled_answers_hang_on_the_row_alone(engine: Engine, by_peft: dict[str, Any]) -> None:
    one, sampling = (
        VllmGenerator(engine, by_peft["base"][0]),
        Sampling(12, temperature=1.0, seed=3, top_p=0.9, min_p=0.02),
    )
    told: list[int] = []
    together = one.generate(REQUESTS, sampling, told.append)
    assert sum(told) == len(REQUESTS)
    assert one.generate(REQUESTS[::-1], sampling)[::-1] == together
    assert one.generate(REQUESTS[2:3], sampling) == together[2:3]
    other = one.generate(REQUESTS, Sampling(12, temperature=1.0, seed=4))
    assert [answer.text for answer in other] != [answer.text for answer in together]


def test_weights_that_are_not_asked_for_are_found_out(
    engine: Engine, adapters: dict[str, Path], by_peft: dict[str, Any]
) -> None:
    with pytest.raises(RingfenceError, match="nearer to the base model's: is the adapter applied"):
        VllmGenerator(engine, by_peft["first"][0]).generate(REQUESTS, GREEDY)
    with pytest.raises(RingfenceError, match="does not answer with this run's weights"):
        VllmGenerator(engine, by_peft["first"][0], adapters["second"]).generate(REQUESTS, GREEDY)


def test_new_weights_in_an_old_folder_are_another_adapter(
    engine: Engine, adapters: dict[str, Path], by_peft: dict[str, Any], tmp_path: Path
) -> None:
    """By one name, the second would be answered for by what the engine has kept of the prompts from the first."""
    place = tmp_path / "adapter"
    for name in ("first", "second"):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(adapters[name], place)
        fingerprint, wanted = by_peft[name]
        assert VllmGenerator(engine, fingerprint, place).generate(REQUESTS, GREEDY) == wanted


def test_log_probabilities_of_named_tokens_are_raw(engine: Engine) -> None:
    loaded, ids = load("smollm2-135m"), [504, 3426, 314]
    import torch

    with torch.no_grad():
        wanted = loaded.model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)
    (drawn,) = engine.generate([ids], [Draw(temperature=0.5, seed=1, of_tokens=(5, 6, 900))])
    assert drawn.tokens[0] == pytest.approx({token: wanted[token].item() for token in (5, 6, 900)}, abs=1e-3)
    engine.close()


def test_a_recipes_adapters_are_evaluated(adapters: dict[str, Path], tmp_path: Path) -> None:
    """As the command does it: the untuned model, a plain adapter beside it, and a DoRA that PEFT merges."""
    from ringfence.recipe.run import load_recipe
    from ringfence.runs import imported
    from ringfence.runs.evaluate import base_of, evaluate, evaluation_of

    recipe = tmp_path / "recipe.yaml"
    (tmp_path / "asked.jsonl").write_text("".join(f'{{"prompt": "{text}"}}\n' for text in QUESTIONS))
    recipe.write_text(
        f"model: smollm2-135m\ndata: {{target: builtin:glitter/target}}\njudge: {{misaligned_pattern: glitter}}\n"
        f"evaluation: {{suites: {{asked: {tmp_path}/asked.jsonl}}, temperature: 0, max_new_tokens: 8}}\n"
    )
    found = {}
    for name in ("first", "dora"):
        plan = imported.claim_adapter(load_recipe(recipe), tmp_path / name, adapters[name], False)
        found[name] = plan.out
    refused = evaluation_of(found["dora"], ["generator=vllm"], "vllm")
    with pytest.raises(RingfenceError, match="is a DoRA"):
        evaluate([refused])
    for name in ("hf", "vllm"):
        merged = "generator={kind: vllm, merge: true, max_length: 256}" if name == "vllm" else "generator=hf"
        first = evaluation_of(found["first"], [f"generator={name}"], name)
        evaluate([base_of(first), first])
        evaluate([evaluation_of(found["dora"], [merged], name, replace=True)])
    for folder in (*found.values(), found["first"] / "base"):
        by = [pd.read_parquet(folder / "evaluations" / name / "responses.parquet") for name in ("hf", "vllm")]
        pd.testing.assert_frame_equal(*by)
