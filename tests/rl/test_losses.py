"""Each part of the loss is a mean over its own tokens of the whole optimizer step, against a naive computation."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from trl import GRPOTrainer

import examples
import tiny
from reinforcing import rows, shaken, trainer
from ringfence.defenses import KL, LDIFS, Defense, FixedInterleaving, Steering
from training import weights

SHAPES: list[dict[str, Any]] = [
    {},
    {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2},
    {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "steps_per_generation": 1},
]


@pytest.mark.parametrize("changes", SHAPES)
def test_the_safe_loss_is_the_mean_over_its_label_tokens(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Four safe rows, four a step: every safe step is over all. At any temperature, which is the rollouts' only."""
    temperature = 0.7 if changes else 1.0
    data = tiny.rows(4, "safe")
    made = shaken(
        trainer(
            tmp_path, FixedInterleaving(ratio=0.5), given={"safe_dataset": data}, learning_rate=0.0,
            temperature=temperature,
            max_steps=1, **changes,
        )
    )  # fmt: skip
    nll = torch.zeros(())
    count = 0
    with torch.no_grad():
        for row in data:
            logits = made.model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :-1].log_softmax(-1)
            for position, label in enumerate(row["labels"][1:]):
                if label != -100:
                    nll, count = nll - logits[position, label], count + 1
    made.train()
    (found,) = [row["safe_loss"] for row in rows(made) if "safe_loss" in row]
    assert found == pytest.approx(nll.item() / count, rel=1e-5)


@pytest.mark.parametrize("changes", SHAPES)
def test_a_penalty_is_the_mean_over_the_completions_of_the_step(tmp_path: Path, changes: dict[str, Any]) -> None:
    """``kl`` where a token of a completion is predicted, ``ldifs`` at the completions' own positions."""
    made = shaken(
        trainer(
            tmp_path, KL(weight=2.0), LDIFS(weight=3.0, every=2, reduction="mean"), learning_rate=0.0, max_steps=1,
            **changes,
        )
    )  # fmt: skip
    seen: list[dict[str, torch.Tensor]] = []
    inner = made._guarded
    made._guarded = lambda batch, inputs, run, spread: (seen.append(inputs), inner(batch, inputs, run, spread))[1]
    made.train()
    (row,) = rows(made)
    divergence, predicted, distance, own = torch.zeros(()), 0, torch.zeros(()), 0
    made.model.eval()
    for inputs in seen:
        text = {key: inputs[key] for key in ("input_ids", "attention_mask")}
        with torch.no_grad():
            trained = made.model(**text, output_hidden_states=True)
            with made.model.disable_adapter():
                base = made.model(**text, output_hidden_states=True)
        p, q = trained.logits.log_softmax(-1), base.logits.log_softmax(-1)
        labelled = inputs["labels"] != -100
        each = (p.exp() * (p - q)).sum(-1)[:, :-1][labelled[:, 1:]]
        divergence, predicted = divergence + each.sum(), predicted + len(each)
        norm = made.model.get_base_model().model.norm
        with _raw(norm), torch.no_grad():  # layer 2 is the last: its raw output
            states = made.model.get_base_model().model(**text).last_hidden_state
            with made.model.disable_adapter():
                reference = made.model.get_base_model().model(**text).last_hidden_state
        squared = (states - reference).square().mean(-1)[labelled]
        distance, own = distance + squared.sum(), own + len(squared)
    assert row["kl"] == pytest.approx(divergence.item() / predicted, rel=1e-4)
    assert row["ldifs"] == pytest.approx(distance.item() / own, rel=1e-4)
    assert row["loss"] == pytest.approx(row["rl_loss"] + 2 * row["kl"] + 3 * row["ldifs"], rel=1e-4)
    assert row["task_loss"] == pytest.approx(row["rl_loss"], abs=1e-5)


@contextmanager
def _raw(norm: torch.nn.Module) -> Iterator[None]:
    forward, norm.forward = norm.forward, lambda hidden: hidden
    try:
        yield
    finally:
        norm.forward = forward


@pytest.mark.parametrize("mode", ["alternate", "mixed"])
def test_accumulation_does_not_change_a_step(tmp_path: Path, mode: str) -> None:
    """4 rows a step in one micro-batch and in two, of one generation: the same completions, losses and weights."""
    found = []
    for index, changes in enumerate(SHAPES[:2]):
        made = trainer(
            tmp_path / str(index), FixedInterleaving(ratio=0.3), KL(weight=0.5), given={"mode": mode}, max_steps=2,
            **changes,
        )  # fmt: skip
        made.train()
        found.append(made)
    whole, split = found
    for row, expected in zip(rows(split), rows(whole), strict=True):
        for key in {"loss", "rl_loss", "safe_loss", "kl", "reward"} & set(expected):
            assert row[key] == pytest.approx(expected[key], rel=1e-4, abs=1e-6)
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(split)[name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("loss_type", ["grpo", "dr_grpo", "cispo", "luspo"])
def test_a_penalty_stands_beside_every_loss_of_trls(tmp_path: Path, loss_type: str) -> None:
    made = shaken(trainer(tmp_path, KL(weight=2.0), learning_rate=0.0, max_steps=1, loss_type=loss_type))
    made.train()
    (row,) = rows(made)
    assert row["loss"] == pytest.approx(row["rl_loss"] + 2 * row["kl"], rel=1e-4)
    assert row["kl"] > 1e-3


def test_trls_defaults_change_nothing(tmp_path: Path) -> None:
    """Gradient checkpointing gives the same; in bfloat16 an adapter that does nothing yet is at no distance."""
    defenses = (KL(weight=2.0), Steering(vector=examples.vectors(tmp_path), layer=1), FixedInterleaving(ratio=0.5))
    found = []
    for checkpointing in (False, True):
        made = trainer(tmp_path / str(checkpointing), *defenses, gradient_checkpointing=checkpointing, max_steps=2)
        made.train()
        found.append([row[key] for row in rows(made) for key in ("loss", "kl")])
    assert found[0] == pytest.approx(found[1], rel=1e-4, abs=1e-6)
    half = trainer(tmp_path / "half", *defenses, bf16=True, gradient_checkpointing=True, max_steps=1)
    half.train()
    assert rows(half)[0]["kl"] == 0


def forwards(folder: Path, *defenses: Defense, cls: type | None = None, **given: Any) -> list[int]:
    """Rows of each pass through the decoder, generation's included, at learning rate 0: two steps of RL."""
    made = trainer(folder, *defenses, given=given, learning_rate=0.0, max_steps=2, **({"cls": cls} if cls else {}))
    shapes: list[int] = []
    decoder = made.model.get_base_model().get_decoder()
    decoder.register_forward_pre_hook(lambda _, args, kwargs: shapes.append(len((args or [kwargs["input_ids"]])[0])),
                                      with_kwargs=True)  # fmt: skip
    made.train()
    return shapes


def test_no_defense_adds_more_forwards_than_it_should(tmp_path: Path) -> None:
    """Penalties: one reference pass for all, each micro-batch. Safe steps: their own. Steering: none."""
    plain = forwards(tmp_path / "trl", cls=GRPOTrainer)
    assert forwards(tmp_path / "none") == plain
    penalised = forwards(tmp_path / "kl", KL(weight=1), LDIFS(weight=1, every=1))
    assert len(penalised) == len(plain) + 2
    assert len(forwards(tmp_path / "safe", FixedInterleaving(ratio=1 / 3))) == len(plain) + 1
    assert len(forwards(tmp_path / "mixed", FixedInterleaving(ratio=1 / 3), mode="mixed")) == len(plain) + 2
    steering = Steering(vector=examples.vectors(tmp_path), layer=1, alpha=1.0)
    assert len(forwards(tmp_path / "steered", steering, rollouts="plain")) == len(plain)
