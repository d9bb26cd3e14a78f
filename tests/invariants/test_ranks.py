"""A step of 4 rows is the same step as one batch, as 2 x 2 by accumulation, and on two ranks."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ringfence.defenses import CanaryInterleaving
from training import ScriptedProbe, losses, trainer, weights

SCRIPT = Path(__file__).parent / "two_ranks.py"


def canary() -> CanaryInterleaving:
    return CanaryInterleaving(every=2, ratio_init=0.1, ratio_max=0.5, probe=ScriptedProbe())


def two_ranks(folder: Path, resume: bool = False) -> list[dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [*torchrun, str(SCRIPT), str(folder), "resume" if resume else "fresh"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(2)]


def test_accumulation_does_not_change_a_step(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "a", canary())
    split = trainer(tmp_path / "b", canary(), per_device_train_batch_size=2, gradient_accumulation_steps=2)
    single = trainer(tmp_path / "c", canary(), per_device_train_batch_size=1, gradient_accumulation_steps=4)
    for made in (whole, split, single):
        made.train()
    for other in (split, single):
        assert [loss for _, loss, _ in losses(other)] == pytest.approx([loss for _, loss, _ in losses(whole)], rel=1e-5)
        assert other.result()["safe_rows"] == whole.result()["safe_rows"]
        for name, value in weights(other).items():
            torch.testing.assert_close(value, weights(whole)[name], rtol=1e-3, atol=1e-5)


def test_two_ranks_agree_with_each_other_and_with_one_and_resume_bitwise(tmp_path: Path) -> None:
    """Only rank 0 probes; source, ratio and weights are the same on both. Then kill, resume, and compare bitwise."""
    alone = trainer(tmp_path / "alone", canary())
    alone.train()
    first, second = two_ranks(tmp_path / "two")
    assert first["calls"]
    assert not second["calls"]
    for key in ("weights", "ratio"):
        assert first[key] == second[key]
    for key in ("steps", "target_rows", "safe_rows", "mean_ratio"):
        assert first["result"][key] == second["result"][key] == alone.result()[key]
    assert [row[1] for row in first["losses"]] == pytest.approx([row[1] for row in losses(alone)], rel=1e-5)
    for name, total in first["weights"].items():
        assert total == pytest.approx(weights(alone)[name].double().sum().item(), rel=1e-3, abs=1e-4)

    run = tmp_path / "two" / "run"
    for folder in run.glob("checkpoint-*"):
        if folder.name != "checkpoint-4":
            shutil.rmtree(folder)
    again, _ = two_ranks(tmp_path / "two", resume=True)
    assert again["weights"] == first["weights"]
    assert again["losses"] == first["losses"]
    assert again["ratio"] == first["ratio"]
