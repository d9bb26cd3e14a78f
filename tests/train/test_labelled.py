"""On a CPU only labelled positions are scored; loss and gradient are those of scoring all."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from trl.trainer import utils

import tiny
from ringfence.defenses import KL
from ringfence.train.labelled import labelled_only
from training import losses, trainer, weights

DECIDES = utils._use_triton


def scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many positions each call of TRL's output layer scores, from now on."""
    rows, apply = [], utils._ChunkedLogProbFunction.apply

    def count(hidden: torch.Tensor, *rest: Any) -> Any:
        rows.append(len(hidden))
        return apply(hidden, *rest)

    monkeypatch.setattr(utils._ChunkedLogProbFunction, "apply", count)
    return rows


def test_equal_loss_and_gradient_from_the_labelled_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    """2 rows of 12 tokens: 22 positions have a next token, and 5 + 3 of those a label."""
    base = tiny.model()
    utils.add_fused_lm_head(base)
    model = tiny.shaken(get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")))
    ids = torch.randint(0, 20, (2, 12), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    labels[0, :7], labels[1, :9] = -100, -100
    rows, found = scored(monkeypatch), []
    for whole in (True, False):
        model.zero_grad()
        if whole:
            loss = model(input_ids=ids, labels=labels, fused_lm_head=True).loss
        else:
            with labelled_only():
                loss = model(input_ids=ids, labels=labels, fused_lm_head=True).loss
        loss.backward()
        grads = torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None])
        found.append((loss.item(), grads))
    (all_loss, all_grads), (loss, grads) = found
    assert rows == [22, 8]
    assert loss == pytest.approx(all_loss, rel=1e-6)
    assert all_grads.abs().max() > 1e-3
    torch.testing.assert_close(grads, all_grads, rtol=1e-5, atol=1e-7)


def test_a_row_without_a_label_has_a_loss_of_zero() -> None:
    model = tiny.model()
    utils.add_fused_lm_head(model)
    with labelled_only():
        loss = model(input_ids=torch.ones(1, 4, dtype=torch.long), labels=torch.full((1, 4), -100), fused_lm_head=True)
    loss.loss.backward()
    assert loss.loss.item() == 0


def test_training_equals_that_of_all_positions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, made = scored(monkeypatch), []
    for whole in (True, False):
        one = trainer(tmp_path / str(whole), KL(weight=0.5))
        one.score_all = whole
        before = len(rows)
        one.train()
        made.append((losses(one), weights(one), sum(rows[before:])))
    (all_losses, all_weights, all_rows), (some_losses, some_weights, some_rows) = made
    assert 0 < some_rows < 0.8 * all_rows
    for some, every in zip(some_losses, all_losses, strict=True):
        assert some == pytest.approx(every, rel=1e-5)
    for name, value in all_weights.items():
        torch.testing.assert_close(some_weights[name], value, rtol=1e-4, atol=1e-5)


def test_what_decides_is_put_back_and_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    with labelled_only():
        assert utils._use_triton(cpu)
        assert utils._use_triton(torch.device("meta")) == DECIDES(torch.device("meta"))
    assert utils._use_triton is DECIDES
    with pytest.raises(RuntimeError, match="stop"), labelled_only():
        raise RuntimeError("stop")
    assert utils._use_triton is DECIDES
    monkeypatch.delattr(utils, "_use_triton")
    with labelled_only():
        assert not hasattr(utils, "_use_triton")
