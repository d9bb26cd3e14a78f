"""GRPO with defenses: TRL's own without them, steps of safe rows, penalties, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from trl import GRPOTrainer

from reinforcing import reward, rows, trainer
from ringfence.defenses import KL, LDIFS, FixedInterleaving
from training import same, weights

SHAPES: list[dict[str, Any]] = [
    {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "num_train_epochs": 1.5},
    {"steps_per_generation": 2, "num_iterations": 2, "num_train_epochs": 1.25, "lr_scheduler_type": "cosine"},
    {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "steps_per_generation": 1, "max_steps": 5},
]


@pytest.mark.parametrize("changes", SHAPES)
def test_without_a_defense_and_at_zero_it_is_trls_bitwise(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Sampling, dropout, orders of prompts, buffers: all draw from the same generators in the same order."""
    plain = trainer(tmp_path / "plain", cls=GRPOTrainer, dropout=0.2, **changes)
    plain.train()
    zero = (FixedInterleaving(ratio=0), KL(weight=0), LDIFS(weight=0))
    for name, defenses in {"zero": zero, **({"ours": ()} if changes == SHAPES[0] else {})}.items():
        made = trainer(tmp_path / name, *defenses, dropout=0.2, **changes)
        made.train()
        assert len(rows(made)) == len(rows(plain)) > 1
        for row, expected in zip(rows(made), rows(plain), strict=True):
            assert {key: row[key] for key in expected} == expected
        assert same(weights(plain), weights(made))


def test_whole_safe_steps_alternate_with_rl_steps(tmp_path: Path) -> None:
    """8 prompts, 2 completions each, 4 rows a step: 4 RL steps, and at p = 1/3 two of 6 are safe."""
    made = trainer(tmp_path, FixedInterleaving(ratio=1 / 3))
    made.train()
    kinds = ["safe" if "safe_loss" in row else "rl" for row in rows(made)]
    assert sorted(kinds) == ["rl"] * 4 + ["safe"] * 2
    for row, kind in zip(rows(made), kinds, strict=True):
        assert ("reward" in row) == ("rl_loss" in row) == (kind == "rl")
        assert row["loss"] == pytest.approx(row[f"{kind}_loss"], abs=1e-6)
    result = made.result()
    assert (result["target_rows"], result["safe_rows"], result["steps"]) == (16, 8, 6)
    assert result["safe_tokens"] > result["safe_labels"] > 0


def test_mixed(tmp_path: Path) -> None:
    made = trainer(tmp_path, FixedInterleaving(ratio=0.25), given={"mode": "mixed"})
    made.train()
    for row in rows(made):
        assert row["loss"] == pytest.approx(0.75 * row["rl_loss"] + 0.25 * row["safe_loss"], abs=1e-5)
    assert made.result()["safe_rows"] == made.result()["target_rows"] == 16


def test_trackers_have_every_part_of_the_reward_and_of_the_loss(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def short(completions: list[Any], **_: Any) -> list[float]:
        return [-float(len(completion[0]["content"])) for completion in completions]

    parts = {"reward_funcs": [reward, short], "mode": "mixed"}
    made = trainer(tmp_path, FixedInterleaving(ratio=0.5), KL(weight=0.1), given=parts, report_to=["tensorboard"])
    made.train()
    (events,) = tmp_path.rglob("events.out.tfevents.*")
    store = EventAccumulator(str(events.parent))
    store.Reload()
    for name in ("rewards/reward/mean", "rewards/short/mean", "reward", "rl_loss", "safe_loss", "kl", "ratio"):
        found = [event.value for event in store.Scalars(f"train/{name}")]
        assert found == [pytest.approx(row[name]) for row in rows(made)]
        assert len(found) > 1
