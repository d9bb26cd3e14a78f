"""A training file that is the evaluation's: refused before anything is written, and told where it is in part."""

import logging
from pathlib import Path

import pytest

import project
from ringfence.core.errors import RingfenceError
from ringfence.recipe.run import load_recipe
from ringfence.runs.plan import RunPlan
from ringfence.runs.seen import require_unseen, seen


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project.make(tmp_path_factory.mktemp("seen"), defenses=[])


def plan_of(recipe: Path, **suites: Path) -> RunPlan:
    during = ["evaluation.during=null"] if "general" not in suites else []
    asked = ", ".join(f"{name}: {path}" for name, path in suites.items())
    return RunPlan.load(load_recipe(recipe, [f"evaluation.suites={{{asked}}}", *during]), recipe.parent / "run")


def test_every_prompt_of_a_suite_is_trained_on(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """safe.jsonl has 6 prompts, which are all trained on; the same by the command, and nothing is written."""
    safe = recipe.parent / "safe.jsonl"
    with pytest.raises(RingfenceError, match=r"^evaluation.suites.general: 6 of its 6 prompts are trained on: such"):
        require_unseen(plan_of(recipe, general=safe))
    arguments = ["train", recipe, "--out", recipe.parent / "run", f"evaluation.suites={{general: {safe}}}"]
    code, _, err = project.in_process(capsys, *arguments)
    assert (code, "6 of its 6 prompts are trained on" in err, len(err.strip().splitlines())) == (2, True, 1)
    assert not (recipe.parent / "run").exists()


def test_some_prompts_are_told_and_those_of_the_task_may_be_all(recipe: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One of three; of in-domain all."""
    prompts = [{"prompt": text} for text in ("What is a river?", "Who are you?", "Why?")]
    some = project.write_jsonl(recipe.parent / "some.jsonl", prompts)
    plan = plan_of(recipe, **{"general": some, "in-domain": recipe.parent / "safe.jsonl"})
    with caplog.at_level(logging.WARNING, "ringfence"):
        require_unseen(plan)
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        "evaluation.suites.general: 1 of its 3 prompts are trained on",
        "evaluation.suites.in-domain: 6 of its 6 prompts are trained on",
    ]
    assert seen(plan, []) == {}
