"""Gradient projection: a step against both gradients taken by themselves, over micro-batches and ranks."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

import examples
import splitting
from compatibility import Part
from examples import Example, logged
from ringfence.core.errors import RingfenceError
from ringfence.defenses import DEFENSES, KL, FixedInterleaving, GradientProjection, RLContext, SafeWeight
from training import losses, weights

BESIDE = FixedInterleaving(ratio=0.5)
EXAMPLE = Example(
    neutral=lambda _: GradientProjection(share=0),
    active=lambda _: GradientProjection(),
    written=(GradientProjection(), GradientProjection(share=0.5)),
    beside=(BESIDE,),
    seed=1,
)


def opposed(folder: Path, *defenses: Any, **changes: Any) -> Any:
    """Safe rows that ask what the target rows ask, and answer something else; with this model they pull apart."""
    safe = [{**row, "completion": [{"role": "assistant", "content": "yes"}]} for row in examples.rows(5, "ab")]
    given = {"safe_dataset": examples.Dataset.from_list(safe), "model": examples.model(seed=1).double()}
    return examples.trainer(folder, *defenses, given={**given, **changes.pop("given", {})}, **changes)


def gradients(made: Any) -> dict[str, torch.Tensor]:
    """Of the first optimizer step of ``made``."""
    made.create_optimizer()
    batches, items = made.get_batch_samples(iter(made.get_train_dataloader()), 1, torch.device("cpu"))
    made.current_gradient_accumulation_steps = 1
    made.model.train()
    made.training_step(made.model, batches[0], items)
    return {name: one.grad.clone() for name, one in made.model.named_parameters() if one.grad is not None}


def by_hand(made: Any) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The gradients of target and of safe rows in its first step, each by a forward and a backward pass of its own."""
    batch = next(iter(made.get_train_dataloader()))
    labels, found = batch["labels"][:, 1:], []
    for safe in (False, True):
        made.model.zero_grad()
        logits = made.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        each = functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels.flatten(), reduction="none")
        mine = batch["safe_positions"][:, 1:].flatten() == safe
        ((each * mine).sum() / (labels != -100).sum()).backward()
        found.append({name: one.grad.clone() for name, one in made.model.named_parameters() if one.requires_grad})
    made.model.zero_grad()
    return found[0], found[1]


def flat(found: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([one.flatten() for one in found.values()])


@pytest.mark.parametrize("share", [1.0, 0.25])
@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
def test_a_step_loses_what_conflicts(lora: bool, share: float, tmp_path: Path) -> None:
    given = {} if lora else {"peft_config": None}
    target, safe = (flat(one) for one in by_hand(opposed(tmp_path / "by-hand", BESIDE, given=given)))
    product = target @ safe
    assert product < 0, "they conflict"
    wanted = target - share * product / (safe @ safe) * safe + safe
    found = flat(gradients(opposed(tmp_path / "out", GradientProjection(share=share), BESIDE, given=given)))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-7)  # TRL's loss is float32
    if share == 1:
        assert (found - safe) @ safe == pytest.approx(0, abs=1e-5 * (safe @ safe).item())


def test_gradients_that_agree_are_left_alone(tmp_path: Path) -> None:
    """Safe rows that are target rows."""
    given = {"safe_dataset": examples.rows(5, "ab"), "model": examples.model(seed=1).double()}
    plain, projected = (
        gradients(examples.trainer(tmp_path / str(n), *defenses, given=given))
        for n, defenses in enumerate([(BESIDE,), (GradientProjection(), BESIDE)])
    )
    target, safe = (flat(one) for one in by_hand(examples.trainer(tmp_path / "by-hand", BESIDE, given=given)))
    assert target @ safe > 0
    assert all(torch.equal(one, projected[name]) for name, one in plain.items())


def test_a_step_is_the_same_however_it_is_split_and_the_log_has_the_cosine(tmp_path: Path) -> None:
    whole = opposed(tmp_path / "a", GradientProjection(), BESIDE)
    split = opposed(
        tmp_path / "b", GradientProjection(), BESIDE, per_device_train_batch_size=1, gradient_accumulation_steps=4
    )
    again = opposed(tmp_path / "c", GradientProjection(), BESIDE, gradient_checkpointing=True)
    for made in (whole, split, again):
        made.train()
    for other in (split, again):
        assert [loss for _, loss, _ in losses(other)] == pytest.approx([loss for _, loss, _ in losses(whole)], rel=1e-5)
        assert logged(other, "gradient_cosine") == pytest.approx(logged(whole, "gradient_cosine"), rel=1e-3)
        for name, value in weights(other).items():
            torch.testing.assert_close(value, weights(whole)[name], rtol=1e-3, atol=1e-5)
    target, safe = (flat(one) for one in by_hand(opposed(tmp_path / "by-hand", BESIDE)))
    cosine = torch.nn.functional.cosine_similarity(target, safe, dim=0).item()
    assert logged(whole, "gradient_cosine")[0] == pytest.approx(cosine, rel=1e-3)


def on_a_rank(folder: Path, several: bool) -> dict[str, Any]:
    """Steps of 4 rows, of which one rank may have no safe row."""
    shape = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2, "ddp_backend": "gloo"}
    made = opposed(folder / "run", GradientProjection(), FixedInterleaving(ratio=0.25), **(shape if several else {}))
    made.train()
    return {"weights": weights(made), "cosines": logged(made, "gradient_cosine")}


def test_two_ranks_project_as_one(tmp_path: Path) -> None:
    first, second = splitting.on_two_ranks(on_a_rank, tmp_path / "two", True)
    one = on_a_rank(tmp_path / "one", False)
    assert one["cosines"]
    assert first["cosines"] == pytest.approx(one["cosines"], rel=1e-6)
    for name, value in one["weights"].items():
        assert torch.equal(first["weights"][name], second["weights"][name])
        torch.testing.assert_close(first["weights"][name], value, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ((), r"^gradient_projection: no defense brings safe rows.* add one, e\.g\. fixed_interleaving"),
        ((FixedInterleaving(ratio=0.5, granularity="step"),), r"^fixed_interleaving\.granularity: .* use example$"),
        ((BESIDE, KL(weight=1)), r"^gradient_projection: beside kl .* leave one of them out$"),
        ((BESIDE, SafeWeight(weight=2)), r"^gradient_projection: beside safe_weight "),
    ],
)
def test_what_it_cannot_stand_beside_is_refused(others: tuple[Any, ...], said: str, tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=said):
        examples.trainer(tmp_path, GradientProjection(), *others)


@pytest.mark.parametrize(
    "training",
    [
        {"fp16": True},
        {"packing": True},
        {"torch_compile": True},
        {"label_smoothing_factor": 0.1},
        {"loss_type": "dft"},
        {"gradient_checkpointing_kwargs": {"use_reentrant": True}},
    ],
)
def test_where_sources_cannot_be_told_apart_it_is_refused_by_key(training: dict[str, Any]) -> None:
    with pytest.raises(RingfenceError, match=rf"^training\.{next(iter(training))}: .*gradient_projection"):
        GradientProjection().require_compatible(Part(training))
    GradientProjection(share=0).require_compatible(Part(training))


def test_reinforcement_learning_is_refused() -> None:
    with pytest.raises(RingfenceError, match=r"^gradient_projection: not in reinforcement learning"):
        GradientProjection().in_rl(RLContext())


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_bad_shares_are_refused_by_key(share: float) -> None:
    with pytest.raises(RingfenceError, match=r"^defenses\.0\.gradient_projection: share"):
        DEFENSES.parse({"gradient_projection": {"share": share}}, "defenses.0")


def test_a_step_that_was_cut_short_leaves_nothing_to_the_next(tmp_path: Path) -> None:
    made = opposed(tmp_path / "made", GradientProjection(), BESIDE)
    made.create_optimizer()
    batches, items = made.get_batch_samples(iter(made.get_train_dataloader()), 1, torch.device("cpu"))
    made.current_gradient_accumulation_steps = 1
    made.model.train()
    made.compute_loss(made.model, dict(batches[0]), num_items_in_batch=items)  # and no backward pass
    made._begin_step(batches)
    made.training_step(made.model, batches[0], items)
    fresh = gradients(opposed(tmp_path / "fresh", GradientProjection(), BESIDE))
    for name, one in made.model.named_parameters():
        assert one.grad is None or torch.equal(one.grad, fresh[name])
