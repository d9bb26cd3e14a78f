"""What a dry run says is what training then does; it writes nothing and loads no weights."""

import json
from pathlib import Path
from typing import Any

import pytest

import project
from ringfence.core.errors import RingfenceError
from ringfence.models import load
from ringfence.recipe.run import load_recipe
from ringfence.runs import drawing
from ringfence.runs import forecast as module
from ringfence.runs import train as runs
from ringfence.runs.forecast import forecast, told
from ringfence.runs.plan import RunPlan

KEYS = [f"{source}_{what}" for source in ("target", "safe") for what in ("rows", "tokens", "labels")]


def counts(counters: Any) -> dict[str, int]:
    found = {}
    for source in ("target", "safe"):
        tally = getattr(counters, source)
        for what, value in zip(
            ("rows", "tokens", "labels"), (tally.conversations, tally.tokens, tally.labels), strict=True
        ):
            found[f"{source}_{what}"] = value
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {"defenses": [{"fixed_interleaving": {"added": 0.5}}]},
        {"defenses": [{"kl": {"weight": 0.1}}], "length": 60, "data.max_truncated": 1},
        {"defenses": [], "packing": True, "length": 256},
    ],
    ids=["fixed", "cut", "packed"],
)
def test_a_forecast_is_what_training_does(
    tmp_path: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SECONDS", 0.01)
    length = [f"training.max_length={changes['length']}"] if "length" in changes else []
    packing = ["training.packing=true"] if changes.get("packing") else []
    recipe = load_recipe(
        project.make(tmp_path, defenses=changes["defenses"], evaluation={}),
        [*length, *packing, f"data.max_truncated={changes.get('data.max_truncated', 0.1)}"],
    )
    before = sorted(tmp_path.rglob("*"))
    (found,) = forecast(RunPlan.load(recipe, Path("dry-run")))
    assert sorted(tmp_path.rglob("*")) == before
    runs.train(RunPlan.load(recipe, tmp_path / "run"))
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    (drawn,) = found.drawn
    assert counts(drawn) == {key: result[key] for key in KEYS}
    assert drawn.step == result["steps"]
    assert {source: cut.counts() for source, cut in found.cuts.items()} == result["rows"]


def test_a_controller_has_two_ends_and_stages_are_all_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The controller's share is 0 to 0.5: no safe row, or as many as target rows. 13 rows and two epochs are 26."""
    monkeypatch.setattr(module, "_SECONDS", 0.01)
    stages = [{"name": "benign", "data": {"target": str(tmp_path / "safe.jsonl")}}]
    recipe = load_recipe(project.make(tmp_path, stages=stages))
    first, second = forecast(RunPlan.load(recipe, Path("dry-run")))
    low, high = first.drawn
    assert (low.target.conversations, low.safe.conversations) == (26, 0)
    assert high.target.conversations == 26
    assert 13 < high.safe.conversations < 52
    assert len(second.drawn) == 1
    model = load(str(tmp_path / "tiny-model")).model
    weights = sum(one.numel() for one in model.parameters())
    # LoRA of rank 4 on q (16 -> 16) and v (16 -> 8) of two layers.
    adapter = 2 * (4 * (16 + 16) + 4 * (16 + 8))
    memory = first.memory
    assert (memory.weights, memory.adapter, memory.gradients) == (4 * weights, 4 * adapter, 4 * adapter)
    lines = told(first)
    assert lines[0] == "stage 1: nothing is written, no weights are loaded"
    assert lines[1] == "target: 13 rows; all fit into 1024 tokens"
    assert [line.split(":")[0] for line in lines[3:]] == [
        "at the lowest share of safe rows",
        "at the highest",
        "memory",
        "time",
    ]


def test_the_reference_pass_counts_what_goes_through_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two passes without penalties; a third one of all rows, or of the safe ones, or of the anchor rows alone."""
    monkeypatch.setattr(module, "_operations_a_second", lambda: 1.0)
    path = project.make(tmp_path, defenses=[{"fixed_interleaving": {"added": 0.5}}])
    fixed = "{fixed_interleaving: {added: 0.5}}"

    def seconds(defense: str, *data: str) -> tuple[float, Any]:
        recipe = load_recipe(path, [f"defenses=[{fixed}{defense}]", *data])
        (found,) = forecast(RunPlan.load(recipe, Path("dry-run")))
        return found.seconds[0], found.drawn[0]

    plain, drawn = seconds("")
    safe, every = drawn.safe.tokens, drawn.safe.tokens + drawn.target.tokens
    assert 0 < safe < every
    assert seconds(", kl")[0] == pytest.approx(plain * 3 / 2)
    assert seconds(", {kl: {sources: safe}}")[0] == pytest.approx(plain * (2 * every + safe) / (2 * every))
    target = seconds(", {kl: {sources: safe}}, {ldifs: {sources: target, every: 1}}")[0]
    assert target == pytest.approx(plain * 3 / 2)
    anchored, beside = seconds(", {anchor: {added: 0.5}}", f"data.anchor={tmp_path / 'safe.jsonl'}")
    assert anchored == pytest.approx(plain * (2 * every + 3 * beside.anchor.tokens) / (2 * every))


def test_a_long_run_is_estimated_from_its_beginning_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """13 rows in steps of 4 are 4 steps an epoch: 80 target steps are 20 epochs of 13 rows, and half as many safe."""
    monkeypatch.setattr(module, "_SECONDS", 0.01)
    path = project.make(tmp_path, defenses=[{"fixed_interleaving": {"added": 0.5}}], evaluation={})
    (whole,) = forecast(RunPlan.load(load_recipe(path, ["training.max_steps=80"]), Path("dry-run")))
    assert "estimated" not in told(whole)[3]
    monkeypatch.setattr(drawing, "WALKED", 24)
    (part,) = forecast(RunPlan.load(load_recipe(path, ["training.max_steps=80"]), Path("dry-run")))
    assert told(part)[3].startswith("estimated from the first 24 steps: ")
    (exact,), (estimate,) = whole.drawn, part.drawn
    assert (exact.target.conversations, exact.safe.conversations) == (260, 130)
    assert estimate.target.conversations == 260
    assert estimate.step == pytest.approx(exact.step, rel=0.05)
    expected = counts(exact)
    assert counts(estimate) == {key: pytest.approx(value, rel=0.05) for key, value in expected.items()}
    (long,) = forecast(RunPlan.load(load_recipe(path, [f"training.max_steps={2**31 - 1}"]), Path("dry-run")))
    assert long.drawn[0].target.conversations == 13 * (2**31 // 4) - 1


def test_an_adapter_that_does_not_fit_the_model_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SECONDS", 0.01)
    path = project.make(tmp_path)
    for modules in ("[nope]", "'('"):
        with pytest.raises(RingfenceError, match=r"^training and lora do not fit: "):
            forecast(RunPlan.load(load_recipe(path, [f"lora.target_modules={modules}"]), Path("dry-run")))
