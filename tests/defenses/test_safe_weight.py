"""Weighted safe rows: the gradient of a step against one written out, and what it cannot go with."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

import examples
from compatibility import Part
from examples import Example, logged
from ringfence.core.errors import RingfenceError
from ringfence.defenses import DEFENSES, FixedInterleaving, RLContext, SafeWeight
from training import losses, weights

BESIDE = FixedInterleaving(ratio=0.25)
EXAMPLE = Example(
    neutral=lambda _: SafeWeight(weight=1),
    active=lambda _: SafeWeight(weight=4),
    written=(SafeWeight(weight=4), SafeWeight(weight=0.5)),
    beside=(BESIDE,),
)


def gradients(made: Any) -> dict[str, torch.Tensor]:
    """Of the first optimizer step of ``made``, which ends it."""
    batches, items = made.get_batch_samples(iter(made.get_train_dataloader()), 1, torch.device("cpu"))
    made.current_gradient_accumulation_steps = 1
    made.model.train()
    made.training_step(made.model, batches[0], items)
    return {name: one.grad.clone() for name, one in made.model.named_parameters() if one.grad is not None}


@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
def test_a_step_has_the_gradient_of_the_weighted_mean(lora: bool, tmp_path: Path) -> None:
    given = {} if lora else {"peft_config": None}
    made = examples.trainer(tmp_path, SafeWeight(weight=4), BESIDE, given=given)
    made.model.double()
    batch = next(iter(made.get_train_dataloader()))
    safe, labels = batch["safe_positions"], batch["labels"]
    assert {True, False} == {*safe.any(-1).tolist()}
    made.model.train()
    logits = made.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    each = functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="none")
    factor = torch.where(safe[:, 1:], 4.0, 1.0).flatten()
    wanted = (each * factor).sum() / (labels[:, 1:] != -100).sum()
    wanted.backward()
    by_hand = {name: one.grad.clone() for name, one in made.model.named_parameters() if one.grad is not None}

    made = examples.trainer(tmp_path / "again", SafeWeight(weight=4), BESIDE, given=given)
    made.model.double()
    made.create_optimizer()
    found = gradients(made)
    assert found.keys() == by_hand.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, by_hand[name], rtol=1e-4, atol=1e-7)  # TRL's loss is float32


def test_a_step_is_the_same_however_it_is_split_and_the_log_says_what_safe_rows_add(tmp_path: Path) -> None:
    defenses = [SafeWeight(weight=4), BESIDE]
    whole = examples.trainer(tmp_path / "a", *defenses)
    split = examples.trainer(tmp_path / "b", *defenses, per_device_train_batch_size=2, gradient_accumulation_steps=2)
    for made in (whole, split):
        made.train()
    assert [loss for _, loss, _ in losses(split)] == pytest.approx([loss for _, loss, _ in losses(whole)], rel=1e-5)
    for name, value in weights(split).items():
        torch.testing.assert_close(value, weights(whole)[name], rtol=1e-3, atol=1e-5)
    assert [value > 0 for value in logged(whole, "safe_weight")] == [True, True, True, False], (
        "the last has no safe row"
    )
    for loss, task, safe in zip(*(logged(whole, key) for key in ("loss", "task_loss", "safe_weight")), strict=True):
        assert loss == pytest.approx(task + 3 * safe, rel=1e-3)
        assert 0 <= safe < task


def test_without_safe_rows_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"^safe_weight: no defense brings safe rows.* add one, e\.g\. fixed_"):
        examples.trainer(tmp_path, SafeWeight(weight=4))


@pytest.mark.parametrize(
    "training", [{"label_smoothing_factor": 0.1}, {"loss_type": "dft"}, {"torch_compile": True}, {"packing": True}]
)
def test_other_losses_are_refused_by_key(training: dict[str, Any]) -> None:
    with pytest.raises(RingfenceError, match=rf"^training\.{next(iter(training))}: .*safe_weight"):
        SafeWeight(weight=4).require_compatible(Part(training))
    SafeWeight(weight=1).require_compatible(Part(training))


@pytest.mark.parametrize("mode", ["alternate", "mixed"])
def test_reinforcement_learning_has_a_weight_of_its_own(mode: Any) -> None:
    with pytest.raises(RingfenceError, match=r"^safe_weight: not in reinforcement learning; .*leave safe_weight out$"):
        SafeWeight(weight=4).in_rl(RLContext(mode))


@pytest.mark.parametrize("weight", [0, -1, float("nan")])
def test_bad_weights_are_refused_by_key(weight: float) -> None:
    with pytest.raises(RingfenceError, match=r"^defenses\.0\.safe_weight: weight"):
        DEFENSES.parse({"safe_weight": {"weight": weight}}, "defenses.0")
