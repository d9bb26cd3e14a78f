"""Anchor rows by a recipe: prompts from a file, counted in the forecast, in the result and on the card."""

from pathlib import Path

import pytest

import project
from ringfence.core.errors import RingfenceError
from ringfence.recipe.run import load_recipe
from ringfence.runs.forecast import forecast, told
from ringfence.runs.plan import RunPlan
from ringfence.runs.train import train


def test_what_is_forecast_is_what_is_trained(tmp_path: Path) -> None:
    asked = [{"prompt": f"What is {number} and one?"} for number in range(5)]  # in no suite: these are refused
    anchors = str(project.write_jsonl(tmp_path / "anchors.jsonl", asked))
    recipe = load_recipe(project.make(tmp_path, defenses=[{"anchor": {"added": 0.5}}]), [f"data.anchor={anchors}"])
    plan = RunPlan.load(recipe, tmp_path / "run")
    assert anchors in plan.digests
    (stage,) = forecast(plan)
    lines = told(stage)
    result = train(plan)
    count, tokens = result["anchor_rows"], result["anchor_tokens"]
    assert abs(count - 0.5 * result["target_rows"]) <= 0.5
    assert any(f"beside them {count} anchor rows of {tokens:,} tokens, without a loss" in line for line in lines)
    card = (tmp_path / "run" / "README.md").read_text()
    assert f"| anchor rows | `{anchors}`" in card
    assert f"| anchor rows seen | {count} |" in card


def test_neither_goes_without_the_other(tmp_path: Path) -> None:
    recipe, anchors = project.make(tmp_path, defenses=[]), str(tmp_path / "general.jsonl")
    with pytest.raises(RingfenceError, match=r"^data\.anchor: no defense reads anchor rows; add one"):
        RunPlan.load(load_recipe(recipe, [f"data.anchor={anchors}"]), tmp_path / "run")
    with pytest.raises(RingfenceError, match=r"^anchor: there are no anchor rows .* data\.anchor"):
        RunPlan.load(load_recipe(recipe, ["defenses=[anchor]"]), tmp_path / "run")
