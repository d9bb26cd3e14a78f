"""What a penalty is multiplied by, so that it is one mean over a step however that is split, and by a loop."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import examples
from ringfence.core.files import JsonlLog
from ringfence.defenses import KL, CanaryInterleaving, Defense
from ringfence.train.penalties import PenalisedMixin
from training import KillAt, Killed, same, weights


@pytest.mark.parametrize(
    ("scaled", "items", "spread"),
    [
        (None, 7, 2),  # the loss is divided by the items of the step: only the ranks' gradients are averaged
        (None, None, 6),  # and the Trainer divides by the 3 micro-batches, too
        (True, None, 2),  # the trainer says that it has scaled its loss, as GRPO does
        (False, 7, 6),  # or that it has not, as DPO does
    ],
)
def test_averages_that_come_after_are_undone(scaled: bool | None, items: int | None, spread: int) -> None:
    """Two ranks, three micro-batches."""
    made: Any = SimpleNamespace(
        loss_is_scaled_for_ga=scaled,
        accelerator=SimpleNamespace(num_processes=2),
        current_gradient_accumulation_steps=3,
    )
    assert PenalisedMixin._spread(made, items) == spread


# --- a loop that moves their weights ------------------------------------------------------------------------


def loop(**changes: Any) -> CanaryInterleaving:
    settings = {
        "ratio_init": 0.5,
        "ratio_max": 1,
        "step_up": 0.25,
        "step_down": 0.25,
        "risk_high": 0.5,
        "risk_low": 0.2,
        "smoothing": 1,
    }
    return examples.canary(moves="penalty", **{**settings, **changes})


def trained(folder: Path, *defenses: Defense, **changes: Any) -> Any:
    made = examples.trainer(folder, *defenses, **{"num_train_epochs": 3, **changes})
    made.train()
    return made


def test_a_factor_of_one_half_is_half_the_weight_and_0_is_plain(tmp_path: Path) -> None:
    held = trained(tmp_path / "held", loop(ratio_min=0.5, ratio_max=0.5), KL(weight=6))
    assert same(weights(held), weights(trained(tmp_path / "half", KL(weight=3))))
    off = trained(tmp_path / "off", loop(ratio_init=0, ratio_max=0), KL(weight=6))
    assert same(weights(off), weights(trained(tmp_path / "plain")))
    assert not same(weights(off), weights(held))
    assert off.result()["safe_rows"] == 0


def test_the_loop_moves_the_weight_and_the_log_says_what_the_loss_was_without_it(tmp_path: Path) -> None:
    """Rows of the log that are means over steps of different factors add up as the steps do."""
    by_step = trained(tmp_path / "1", loop(), KL(weight=3))
    control = {row["step"]: row["ratio"] for row in JsonlLog(tmp_path / "1" / "control.jsonl").read()}
    assert len({*control.values()}) > 1
    rows = [row for row in by_step.state.log_history if "kl" in row]
    factor, parts = 0.5, []
    for row in rows:
        parts.append(row["loss"] - row["task_loss"])
        assert parts[-1] == pytest.approx(factor * 3 * row["kl"], abs=1e-6)
        factor = control.get(row["step"], factor)
    assert max(parts) > 1e-4
    by_three = trained(tmp_path / "3", loop(), KL(weight=3), logging_steps=3)
    found = [row["loss"] - row["task_loss"] for row in by_three.state.log_history if "kl" in row]
    assert found == pytest.approx([sum(parts[at : at + 3]) / 3 for at in range(0, len(parts), 3)], abs=1e-5)


def test_killed_and_resumed_the_loop_goes_on_bitwise(tmp_path: Path) -> None:
    saving = {"save_strategy": "steps", "save_steps": 2}
    whole = trained(tmp_path / "whole", loop(), KL(weight=3), **saving)
    halted = examples.trainer(tmp_path / "killed", loop(), KL(weight=3), num_train_epochs=3, **saving)
    halted.add_callback(KillAt(5))
    with pytest.raises(Killed):
        halted.train()
    resumed = examples.trainer(tmp_path / "killed", loop(), KL(weight=3), num_train_epochs=3, **saving)
    resumed.train(resume_from_checkpoint=True)
    assert same(weights(whole), weights(resumed))
    journals = [JsonlLog(tmp_path / name / "control.jsonl").read() for name in ("whole", "killed")]
    assert [row["ratio"] for row in journals[0]] == [row["ratio"] for row in journals[1]]
