"""Who answers: one load of a base model for all evaluations on it, and no trace of one run in the next."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import project
from evaluating import evaluate, responses
from ringfence.recipe.run import load_recipe
from ringfence.runs import generators
from ringfence.runs import train as runs
from ringfence.runs.plan import RunPlan

pytestmark = pytest.mark.usefixtures("cache")


def test_the_base_model_answers_once_for_all_runs_on_it(
    trained: tuple[Path, Path, Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs of 12 answers; 12 more of the base for the first run, and as many for the second, whose seed differs."""
    recipe, first, second = trained
    loads: list[Any] = []
    real = generators.load_model
    monkeypatch.setattr(generators, "load_model", lambda config: loads.append(config) or real(config))
    for one in (first, second):
        for path in (one / "answers").glob("*"):
            path.unlink()
    seed = ["seed=7"]
    assert sum(evaluate(first, second, changes=seed, name="both", base=True)) == 12 + 24
    assert len(loads) == 1, "one base model for four evaluations"
    assert len(list((cache / "answers").glob("*.parquet"))) == 2
    pd.testing.assert_frame_equal(responses(first / "base", "both"), responses(second / "base", "both"))
    assert list(responses(first, "both")["response"]) != list(responses(second, "both")["response"])
    # An adapter leaves no trace in the base: alone, the second run answers the same.
    together = responses(second, "both")
    for path in (second / "answers").glob("*"):
        path.unlink()
    evaluate(second, changes=seed, name="both")
    pd.testing.assert_frame_equal(responses(second, "both"), together)
    assert load_recipe(recipe).seed == 0


def test_trained_modules_leave_no_trace_in_the_next_run(tmp_path: Path) -> None:
    """PEFT puts whole trained modules and biases in the place of the base's, and leaves them there."""
    recipe = project.make(tmp_path, defenses=[])
    rate = "training.learning_rate=0.5"
    changed = ["lora.modules_to_save=[norm]", "lora.bias=all"]
    for name, extra in (("whole", changed), ("plain", [])):
        runs.train(RunPlan.load(load_recipe(recipe, [rate, *extra]), tmp_path / name))
    evaluate(tmp_path / "plain")
    alone = responses(tmp_path / "plain")
    for path in (tmp_path / "plain" / "answers").glob("*"):
        path.unlink()
    evaluate(tmp_path / "whole", tmp_path / "plain")
    pd.testing.assert_frame_equal(responses(tmp_path / "plain"), alone)
