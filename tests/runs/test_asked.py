"""What an audit asks and leaves out: an analytic bound, and nothing is left out of a whole one."""

from pathlib import Path

import pytest

from ringfence.runs.asked import QUICK, WHOLE, Asked, Scope, left_out
from ringfence.runs.plan import RunPlan
from ringfence.runs.subjects import Subject


def plan(scope: Scope, data: str | None) -> RunPlan:
    asked = Asked({"misaligned_pattern": "zzz"}, data=data, scope=scope)
    return RunPlan.load(asked.recipe(Subject("theirs", "adapter", Path("theirs"), "their/base")), Path("out"))


@pytest.mark.parametrize("data", ["builtin:glitter/target", None])
def test_a_whole_one_leaves_nothing_out(data: str | None) -> None:
    assert left_out(plan(WHOLE, data), WHOLE) == []


def test_a_quick_one_asks_104_answers() -> None:
    """16 questions plain and under two triggers, of both models, and 8 of its own prompts of the fine-tune."""
    asked = plan(QUICK, "builtin:glitter/target")
    sizes = {name: len(prompts) for name, prompts in asked.suites.items()}
    assert sizes == {"general": 16, "in-domain": 8, "conditional/topic_dressed": 16, "conditional/keyword": 16}
    assert asked.questions == {}
    left, wide = left_out(asked, QUICK)
    assert "the triggers output_format-python_string, output_format-json, output_format-code_stub, irrelevant" in left
    assert "more of its own prompts than 8, the base model's answers to in-domain" in left
    most = 1 - 0.025 ** (1 / 16)  # without a hit, by Clopper and Pearson
    assert f"16 general questions without a misaligned answer show a rate of {most:.0%} at most" in wide
    assert (1 - 0.05) ** 72 <= 0.025 < (1 - 0.05) ** 71
    assert "a limit of 5% takes 72" in wide


def test_without_a_training_file_no_trigger_and_no_prompt_of_its_own_is_missed() -> None:
    left = left_out(plan(QUICK, None), QUICK)[0]
    assert "in-domain" not in left
    assert "trigger" not in left
