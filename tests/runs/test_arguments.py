"""A trainer's arguments: the recipe's over ours over TRL's. GRPO's are in test_rl.py, a stage's in test_trainer.py."""

from pathlib import Path

import pytest
from trl import SFTConfig

import project
from ringfence.core.errors import RingfenceError
from ringfence.recipe.run import load_recipe
from ringfence.runs.arguments import training_arguments
from ringfence.runs.plan import RunPlan
from ringfence.runs.stages import Stage


def stage_of(folder: Path, *overrides: str) -> Stage:
    return RunPlan.load(load_recipe(project.make(folder), overrides), folder / "run").stages[0]


def test_a_recipes_values_win_over_our_defaults(tmp_path: Path) -> None:
    made = training_arguments(stage_of(tmp_path, "training.report_to=[tensorboard]", "training.max_steps=7"))
    assert type(made) is SFTConfig
    assert (made.report_to, made.max_steps, made.bf16, made.gradient_checkpointing) == (
        ["tensorboard"],
        7,
        False,
        False,
    )


@pytest.mark.parametrize(("dtype", "bf16"), [("float32", True), ("float16", False)])
def test_as_on_a_gpu(tmp_path: Path, dtype: str, bf16: bool) -> None:
    made = training_arguments(stage_of(tmp_path, f"model.dtype={dtype}"), forecast_gpu=True)
    assert (made.bf16, made.gradient_checkpointing) == (bf16, True)


def test_what_does_not_go_together_names_the_key(tmp_path: Path) -> None:
    stage = stage_of(tmp_path, "training.lr_scheduler_type=polynomial", "training.lr_scheduler_kwargs={lr_end: 1}")
    with pytest.raises(RingfenceError, match=r"^training\.lr_scheduler_kwargs: .* does not fit polynomial"):
        training_arguments(stage)
