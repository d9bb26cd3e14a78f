"""What an evaluation may change, and its name; no model is needed to tell."""

from dataclasses import replace
from pathlib import Path

import pytest

import project
from ringfence.core.errors import RingfenceError
from ringfence.evaluate.presets import find_preset
from ringfence.recipe.run import Recipe, load_recipe
from ringfence.runs.changes import MODEL_KEY, evaluation_name, with_changes

BAD = {
    "training.learning_rate=1": r"^training\.learning_rate: an evaluation may change .*, no_system, seed",
    "evaluation.sampels=3": r"^changes to here: unknown key 'evaluation\.sampels'\. Did you mean .samples",
    "judge={kind: rule}": r"judge\.kind: unknown judge 'rule'",
    f"{MODEL_KEY}=other": r"^--model: here was trained on .*, not on other; leave --model out",
}


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return load_recipe(project.make(tmp_path), ["evaluation.during={every: 1, suites: [general]}"])


@pytest.mark.parametrize("change", BAD)
def test_bad_changes_are_refused_on_one_line(recipe: Recipe, change: str) -> None:
    with pytest.raises(RingfenceError, match=BAD[change]) as caught:
        with_changes(recipe, [change], None, Path("here"))
    assert "\n" not in str(caught.value)


def test_without_changes_it_is_the_runs_own_recipe(recipe: Recipe) -> None:
    assert with_changes(recipe, [], None, Path("here")) is recipe


def test_changes_stand_above_the_preset_and_nothing_is_asked_during_training(recipe: Recipe) -> None:
    preset = replace(find_preset("fars"), samples=7, temperature=0.25)
    made = with_changes(recipe, ["evaluation.samples=3"], preset, Path("here")).evaluation
    assert (made.samples, made.temperature, made.during) == (3, 0.25, None)
    assert made.suites == recipe.evaluation.suites


def test_a_model_that_a_script_built_is_named_afterwards(recipe: Recipe) -> None:
    built = recipe.model_copy(update={"model": recipe.model.model_copy(update={"name": "python:built"})})
    assert with_changes(built, [f"{MODEL_KEY}=saved"], None, Path("here")).model.name == "saved"


@pytest.mark.parametrize("name", [None, "evaluation", "a/b", "..", ""])
def test_an_evaluation_with_changes_needs_a_name_that_can_name_a_folder(name: str | None) -> None:
    with pytest.raises(RingfenceError, match=r"^--name: "):
        evaluation_name(name, is_changed=True)


def test_without_changes_or_a_name_it_is_the_runs_own() -> None:
    assert evaluation_name(None, is_changed=False) == "evaluation"
    assert evaluation_name("second", is_changed=False) == "second"
