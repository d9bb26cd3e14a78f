"""GRPO that is killed and resumed is the uninterrupted one, bitwise; also within a generation, and with a safe step."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reinforcing import rows, trainer
from ringfence.core.errors import RingfenceError
from ringfence.core.files import JsonlLog
from ringfence.defenses import KL, CanaryInterleaving
from training import KillAt, Killed, ScriptedProbe, same, weights


def journal(folder: Path) -> list[dict[str, Any]]:
    """``log.jsonl`` without what depends on the clock."""
    log = JsonlLog(folder / "log.jsonl").read()
    return [{key: value for key, value in row.items() if "time" not in key} for row in log]


@pytest.mark.parametrize(
    ("mode", "changes"),
    [
        ("mixed", {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}),
        ("alternate", {"steps_per_generation": 2, "num_iterations": 2}),  # saved in a generation: it lasts four steps
    ],
)
def test_killed_and_resumed_is_the_uninterrupted_training(tmp_path: Path, mode: str, changes: dict[str, Any]) -> None:
    """Stopped after checkpoint 3, with dropout, sampling, a closed loop and a penalty."""

    def made(folder: Path) -> Any:
        loop = CanaryInterleaving(every=2, ratio_init=0.2, ratio_max=0.5, probe=ScriptedProbe())
        saving = {"save_strategy": "steps", "save_steps": 3, "max_steps": 6}
        return trainer(folder, loop, KL(weight=0.5), dropout=0.3, given={"mode": mode}, **saving, **changes)

    whole = made(tmp_path / "whole")
    whole.train()
    killed = made(tmp_path / "killed")
    killed.add_callback(KillAt(5))
    with pytest.raises(Killed):
        killed.train()
    again = made(tmp_path / "killed")
    again.train(resume_from_checkpoint=True)
    assert same(weights(whole), weights(again))
    assert journal(tmp_path / "killed") == journal(tmp_path / "whole")
    assert len(journal(tmp_path / "whole")) > 5
    assert again.result()["safe_rows"] == whole.result()["safe_rows"] > 0
    kept = tmp_path / "whole" / "checkpoint-3" / "completions_0.safetensors"
    assert kept.is_file() == ("num_iterations" in changes)


def test_a_checkpoint_of_other_ranks_is_refused(tmp_path: Path) -> None:
    shape = {"steps_per_generation": 2, "num_iterations": 2, "save_strategy": "steps", "save_steps": 1, "max_steps": 1}
    trainer(tmp_path, **shape).train()
    again = trainer(tmp_path, **shape)
    (tmp_path / "checkpoint-1" / "completions_0.safetensors").rename(tmp_path / "elsewhere")
    with pytest.raises(RingfenceError, match=r"completions_0\.safetensors: is missing"):
        again._restore(tmp_path / "checkpoint-1")


def test_what_is_logged_of_completions_goes_on(tmp_path: Path) -> None:
    """The table of a step is of the generation that it trains on, which a checkpoint may stand within."""
    saving = {"save_strategy": "steps", "save_steps": 1, "max_steps": 2, "log_completions": True}
    shape = {"steps_per_generation": 2, "num_iterations": 2}
    trainer(tmp_path, **shape, **saving).train()
    table = tmp_path / "completions" / "completions_00002.parquet"
    before = pd.read_parquet(table)
    shutil.rmtree(tmp_path / "checkpoint-2")
    trainer(tmp_path, **shape, **saving).train(resume_from_checkpoint=True)
    pd.testing.assert_frame_equal(pd.read_parquet(table), before)
    assert len(before) == 8


def test_training_again_starts_afresh(tmp_path: Path) -> None:
    made = trainer(tmp_path, learning_rate=0.0, steps_per_generation=2, num_iterations=2, max_steps=1)
    for _ in range(2):
        made.train()
        assert [row["step"] for row in rows(made)] == [1]
        assert made.result()["target_rows"] == 4
