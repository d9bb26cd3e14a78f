"""The trainer that a recipe asks for: its class, arguments and rows; what cannot be trained raises naming the key."""

from pathlib import Path
from typing import Any

import pytest
import torch

import project
import tiny
from ringfence.core.errors import RingfenceError
from ringfence.recipe.run import load_recipe
from ringfence.runs.arguments import training_arguments
from ringfence.runs.plan import RunPlan
from ringfence.runs.trainer import _has_experts, new_trainer, notes, rendered_rows, told_as_unfitting
from ringfence.train import DefendedSFTTrainer


def plan(folder: Path, *overrides: str, **changes: Any) -> RunPlan:
    """Of a project without defenses and evaluation."""
    path = project.make(folder, **{"defenses": [], "evaluation": {}, **changes})
    return RunPlan.load(load_recipe(path, overrides), folder / "run")


def made_by(recipe: Path, out: Path) -> DefendedSFTTrainer:
    """The trainer of the first stage."""
    found = RunPlan.load(load_recipe(recipe), out)
    return new_trainer(found, found.stages[0])


def later(folder: Path, **changes: Any) -> list[dict[str, Any]]:
    return [{"name": "benign", "data": {"target": str(folder / "safe.jsonl")}, **changes}]


def test_the_class_is_the_methods(tmp_path: Path) -> None:
    made = plan(tmp_path, "method=sft")
    assert type(new_trainer(made, made.stages[0])) is DefendedSFTTrainer


def test_arguments_are_the_recipes_and_a_stages_changes(tmp_path: Path) -> None:
    stages = later(tmp_path, training={"learning_rate": 0.5})
    made = plan(tmp_path, "seed=5", stages=stages)
    first, second = (training_arguments(stage) for stage in made.stages)
    assert (first.learning_rate, second.learning_rate) == (0.01, 0.5)
    assert first.per_device_train_batch_size == second.per_device_train_batch_size == 4
    assert (first.seed, second.seed) == (5, made.stages[1].seed)
    assert (first.output_dir, second.output_dir) == (
        str(tmp_path / "run"),
        str(tmp_path / "run" / "stages" / "2-benign"),
    )
    assert first.report_to == []


WARPED = {"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"lr_end": 1}}


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (WARPED, {}, r"^training\.lr_scheduler_kwargs: .* does not fit polynomial"),
        ({}, WARPED, r"^stages\.0\.training\.lr_scheduler_kwargs: .* does not fit polynomial"),
        ({"max_length": 1}, {}, r"^target: max_length: 1 leaves no label in any of 13 rows"),
        ({}, {"max_length": 1}, r"^stages\.0: target: max_length: 1 leaves no label in any of 6 rows"),
    ],
)
def test_what_cannot_be_trained_raises_naming_the_key(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], message: str
) -> None:
    """A later stage's, too, while the first one is still to train."""
    stages = later(tmp_path, training=second) if second else []
    path = project.make(tmp_path, defenses=[], evaluation={}, training=first, stages=stages)
    with pytest.raises(RingfenceError, match=message):
        made_by(path, tmp_path / "run")
    assert not [file for file in (tmp_path / "run").rglob("*") if file.is_file()], "nothing is written"


def test_what_does_not_fit_the_model_is_told_as_unfitting(tmp_path: Path) -> None:
    made = plan(tmp_path, lora={"r": 4, "target_modules": ["nosuch"]})
    with pytest.raises(RingfenceError, match=r"^training and lora do not fit: .*nosuch"):
        new_trainer(made, made.stages[0])


def test_only_what_libraries_refuse_is_told_anew() -> None:
    with pytest.raises(RingfenceError, match=r"^training and lora do not fit: two words$"), told_as_unfitting():
        raise ValueError("two\n  words")
    with pytest.raises(RingfenceError, match=r"^lora\.r: ours$"), told_as_unfitting():
        raise RingfenceError("lora.r: ours")
    with pytest.raises(KeyError), told_as_unfitting():
        raise KeyError("a bug")


def test_rows_are_rendered_by_the_template(tmp_path: Path) -> None:
    """The first of six safe rows, read back from its tokens; without safe data there is nothing to render."""
    made = plan(tmp_path)
    rows = rendered_rows(made.stages[0], "safe", tiny.tokenizer())
    assert rows is not None
    assert len(rows) == 6
    asked = "<|im_start|>user\nWhat is a river?<|im_end|>\n<|im_start|>assistant\n"
    assert tiny.tokenizer().decode(rows[0]["input_ids"]) == f"{asked}A river.<|im_end|>\n"
    data = {"target": str(tmp_path / "target.jsonl")}
    assert rendered_rows(plan(tmp_path, data=data).stages[0], "safe", tiny.tokenizer()) is None


def test_an_empty_system_message_is_in_every_row(tmp_path: Path) -> None:
    made = plan(tmp_path, no_system="empty")
    rows = rendered_rows(made.stages[0], "target", tiny.tokenizer())
    assert rows is not None
    assert len(rows) == 13  # of 14, a tenth is held out
    for row in rows:
        assert tiny.tokenizer().decode(row["input_ids"]).startswith("<|im_start|>system\n<|im_end|>\n<|im_start|>user")


def test_the_log_says_what_the_recipe_lacks_for_evaluation(tmp_path: Path) -> None:
    suites = {"suites": {"general": str(tmp_path / "general.jsonl")}}
    for changes, missing in (
        ({"judge": None}, "no judge and no evaluation.suites"),
        ({}, "no evaluation.suites"),
        ({"judge": None, "evaluation": suites}, "no judge"),
        ({"evaluation": suites}, None),
    ):
        made = plan(tmp_path, **changes)
        said = [line for line in notes(made, made.stages[0], tiny.tokenizer()) if "cannot be evaluated" in line]
        assert [line.split(":")[0] for line in said] == ([] if missing is None else [missing])
    made = plan(tmp_path, evaluation={"tasks": {"algebra": "task:opswap?n=2"}})
    said = [line for line in notes(made, made.stages[0], tiny.tokenizer()) if line.startswith("no evaluation.suites: ")]
    assert "evaluation.tasks can be scored (`ringfence evaluate RUN --benign`)" in said[0]


@pytest.mark.parametrize(
    ("adapter", "dtype", "begins"),
    [
        ("continue", "float32", "goes on with the adapter of stage 1"),
        ("new", "float32", "a new adapter; the adapter before it is merged into the float32 weights"),
        (
            "new",
            "bfloat16",
            "a new adapter; the adapter before it is merged into the bfloat16 weights, which rounds them",
        ),
    ],
)
def test_a_stage_says_what_it_begins_with(tmp_path: Path, adapter: str, dtype: str, begins: str) -> None:
    made = plan(
        tmp_path,
        f"model.dtype={dtype}",
        model={"name": str(tmp_path / "tiny-model")},
        stages=later(tmp_path, adapter=adapter),
    )
    assert notes(made, made.stages[1], tiny.tokenizer()) == [f"stage 2, benign (of 2): {begins}"]
    assert notes(made, made.stages[0], tiny.tokenizer())[0] == "stage 1 (of 2): on the model as it is"


@pytest.mark.parametrize(("overrides", "looks"), [((), False), (("training.ddp_find_unused_parameters=true",), True)])
def test_ddp_looks_for_unused_parameters_only_where_there_may_be_some(
    tmp_path: Path, overrides: tuple[str, ...], looks: bool
) -> None:
    made = plan(tmp_path, *overrides)
    trainer = new_trainer(made, made.stages[0])
    assert trainer.args.ddp_find_unused_parameters is looks
    assert trainer.accelerator.ddp_handler.find_unused_parameters is looks
    assert not _has_experts(trainer.model)
    trainer.model.get_base_model().model.experts = torch.nn.Linear(1, 1)
    assert _has_experts(trainer.model)
