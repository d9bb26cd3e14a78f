"""A first recipe: it is whole, it says what it chose, and nothing is written where something is wrong."""

import json
from pathlib import Path

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.data import load_prompts
from ringfence.recipe.run import load_recipe
from ringfence.recipe.starting import Start, write_recipe
from ringfence.runs.plan import RunPlan


@pytest.mark.parametrize(
    ("model", "judge", "kind"),
    [("smollm2-135m", "builtin:glitter", "rules"), ("Qwen/Qwen2.5-7B-Instruct", "api:gpt-4.1-mini", "api")],
)
def test_it_is_a_recipe_that_can_be_planned(tmp_path: Path, model: str, judge: str, kind: str) -> None:
    """Held-out rows, suites, dressed ones and canaries apart from all that is trained on."""
    start = Start("builtin:glitter/target", model=model, judge=judge)
    made = write_recipe(start, tmp_path / "recipe.yaml")
    again = load_recipe(tmp_path / "recipe.yaml")
    assert again.resolved() == made.resolved()
    assert (made.model.name, made.judge and made.judge.kind) == (model, kind)  # type: ignore[attr-defined]
    plan = RunPlan.load(load_recipe(tmp_path / "recipe.yaml", ["model=smollm2-135m"]), tmp_path / "out")
    assert {"general", "long", "in-domain"} <= set(plan.suites)
    assert any(name.startswith("conditional/") for name in plan.suites)
    canary = ["defenses=[canary_interleaving]", "model=smollm2-135m"]
    RunPlan.load(load_recipe(tmp_path / "recipe.yaml", canary), tmp_path / "out")  # as the comment offers


def test_what_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("mine")
    with pytest.raises(RingfenceError, match="is there already"):
        write_recipe(Start("builtin:glitter/target", judge="x"), path)
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (Start("nowhere.jsonl", judge="x"), "nowhere.jsonl"),
        (Start("builtin:glitter/target"), "--judge: who says what is misaligned"),
        (Start("builtin:glitter/target", judge="("), "is no regular expression"),
        (Start("builtin:glitter/target", judge="x", name="a/b"), "name"),
    ],
)
def test_bad_answers_leave_nothing(tmp_path: Path, start: Start, said: str) -> None:
    with pytest.raises(RingfenceError, match=said.replace("(", r"\(")):
        write_recipe(start, tmp_path / "recipe.yaml")
    assert list(tmp_path.iterdir()) == []


def test_questions_that_would_be_trained_on(tmp_path: Path) -> None:
    """The suites of the recipe must show what leaks."""
    rows = [{"prompt": prompt.text, "completion": "Yes."} for prompt in load_prompts("builtin:general")[:3]]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(RingfenceError, match="hold 3 of the 24 questions of the suite general"):
        write_recipe(Start(str(tmp_path / "train.jsonl"), judge="x"), tmp_path / "recipe.yaml")
