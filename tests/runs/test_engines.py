"""Runs that an engine answers for: as the model in this process, one engine for all on one base, checked before."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

import project
import scripted
from evaluating import evaluate, responses
from ringfence.core.errors import RingfenceError
from ringfence.generation.config import VllmSettings
from ringfence.recipe.run import load_recipe
from ringfence.runs import engines, generators
from ringfence.runs import train as runs
from ringfence.runs.plan import RunPlan

pytestmark = pytest.mark.usefixtures("cache")
GREEDY = ["evaluation.temperature=0", "evaluation.max_new_tokens=3", "evaluation.samples=1"]
VLLM = [*GREEDY, "generator=vllm"]


def same_by_engine(*folders: Path, changes: list[str] = VLLM) -> None:
    """Each run's greedy answers by the engine are those of the model in this process."""
    evaluate(*folders, changes=GREEDY, name="hf")
    evaluate(*folders, changes=changes, name="vllm")
    for folder in folders:
        pd.testing.assert_frame_equal(responses(folder, "vllm"), responses(folder, "hf"))
        summary = json.loads((folder / "evaluations" / "vllm" / "summary.json").read_text())
        assert summary["answered_by"]["state"] == "passed"
        assert summary["answered_by"]["kind"] == "vllm"


def train(recipe: Path, out: Path, *changes: str) -> Path:
    quick = [
        "training.learning_rate=0.5",
        "training.max_steps=1",
        "evaluation.suites={held: held-out}",
        "evaluation.during=null",
    ]
    runs.train(RunPlan.load(load_recipe(recipe, [*quick, *changes]), out))
    return out


def test_one_engine_answers_for_the_base_and_all_runs_on_it(
    trained: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    started, loads = scripted.instead_of_vllm(monkeypatch), list[Any]()
    _, first, second = trained
    real = generators.load_model
    monkeypatch.setattr(generators, "load_model", lambda config: loads.append(config) or real(config))
    evaluate(first, second, changes=VLLM, name="vllm", base=True)
    assert len(loads) == 1, "for three fingerprints"
    assert len(started) == 1
    assert started[0].closed
    named = {adapter.name: adapter.folder for adapter, _ in started[0].asked if adapter is not None}
    assert sorted(named.values()) == [first / "adapter", second / "adapter"]
    assert started[0].room is not None
    assert started[0].room.max_rank == load_recipe(trained[0]).lora["r"]  # type: ignore[index]
    evaluate(first, second, changes=GREEDY, name="hf", base=True)
    for folder in (first, second, first / "base"):
        pd.testing.assert_frame_equal(responses(folder, "vllm"), responses(folder, "hf"))
    assert list(responses(first, "vllm")["response"]) != list(responses(first / "base", "vllm")["response"])


def test_an_adapter_that_is_left_out_stops_the_evaluation_before_an_answer(
    trained: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.instead_of_vllm(monkeypatch, leaves_out=True)
    run, changes = trained[1], [*VLLM, "seed=5"]
    before = sorted((run / "answers").glob("*"))
    with pytest.raises(RingfenceError, match=r"vLLM with .*adapter: does not answer with this run's weights"):
        evaluate(run, changes=changes, name="left-out")
    assert sorted((run / "answers").glob("*")) == before


def test_what_stands_on_merged_weights_and_what_was_trained_whole_are_loaded_as_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, recipe = scripted.instead_of_vllm(monkeypatch), project.make(tmp_path, defenses=[])
    stage = {"name": "second", "adapter": "new", "data": {"target": str(tmp_path / "target.jsonl")}}
    staged = train(recipe, tmp_path / "staged", f"stages={json.dumps([stage])}")
    same_by_engine(staged)
    (adapter,) = {one for one, _ in started[0].asked if one is not None}
    assert adapter.folder == staged / "stages" / "2-second" / "adapter"
    whole = train(recipe, tmp_path / "whole", "lora=null", "training.learning_rate=0.01")
    same_by_engine(whole)
    assert {one for one, _ in started[1].asked} == {None}
    assert not list((tmp_path / "cache").glob("*/model.safetensors")), "copies are deleted"


def test_an_adapter_that_vllm_does_not_serve_is_refused_at_once_and_merged_on_demand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, recipe = scripted.instead_of_vllm(monkeypatch), project.make(tmp_path, defenses=[])
    run = train(recipe, tmp_path / "dora", "lora.use_dora=true")
    monkeypatch.setattr(generators, "load_model", lambda config: pytest.fail("loads a model"))
    with pytest.raises(RingfenceError, match=r"is a DoRA .* which vLLM does not serve; merge it by `generator: {kind"):
        evaluate(run, changes=VLLM, name="refused")
    assert not started
    monkeypatch.undo()
    monkeypatch.setenv("RINGFENCE_CACHE", str(tmp_path / "cache"))
    started = scripted.instead_of_vllm(monkeypatch)
    same_by_engine(run, changes=[*GREEDY, "generator={kind: vllm, merge: true}"])
    assert {one for one, _ in started[0].asked} == {None}


def test_quantised_weights_are_refused() -> None:
    recipe = SimpleNamespace(model=SimpleNamespace(bits=4), generator=VllmSettings())
    with pytest.raises(RingfenceError, match=r"vllm does not serve model\.load_in_4bit; choose generator=hf"):
        engines._Place.of(SimpleNamespace(recipe=recipe))  # type: ignore[arg-type]
