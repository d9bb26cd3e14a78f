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

import examples
from training import losses, trainer, weights

SCRIPT = Path(__file__).parent / "two_ranks.py"


def alone(folder: Path, name: str, **changes: Any) -> Any:
    """One process, 18 rows in steps of 4: the last step of an epoch is short."""
    made = trainer(folder, *examples.together(name), given={"model": examples.model()}, **changes)
    made.train()
    return made


def two_ranks(folder: Path, name: str, resume: bool = False) -> list[dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [*torchrun, str(SCRIPT), str(folder), "resume" if resume else "fresh", name],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(2)]


def assert_as_alone(ranks: list[dict[str, Any]], whole: Any) -> None:
    first, second = ranks
    for key in ("weights", "ratio", "penalties"):
        assert first[key] == second[key]
    counts = [f"{source}_{what}" for source in ("target", "safe") for what in ("rows", "tokens", "labels")]
    for key in ("steps", *counts, "mean_ratio", "rows"):
        assert first["result"][key] == second["result"][key] == whole.result()[key]
    assert [row[1] for row in first["losses"]] == pytest.approx([row[1] for row in losses(whole)], rel=1e-5)
    for name, total in first["weights"].items():
        assert total == pytest.approx(weights(whole)[name].double().sum().item(), rel=1e-3, abs=1e-4)


def test_accumulation_does_not_change_a_step(tmp_path: Path) -> None:
    whole = alone(tmp_path / "a", "canary")
    split = alone(tmp_path / "b", "canary", per_device_train_batch_size=2, gradient_accumulation_steps=2)
    single = alone(tmp_path / "c", "canary", per_device_train_batch_size=1, gradient_accumulation_steps=4)
    for other in (split, single):
        assert [loss for _, loss, _ in losses(other)] == pytest.approx([loss for _, loss, _ in losses(whole)], rel=1e-5)
        assert other.result()["safe_rows"] == whole.result()["safe_rows"]
        for name, value in weights(other).items():
            torch.testing.assert_close(value, weights(whole)[name], rtol=1e-3, atol=1e-5)


def test_two_ranks_agree_with_each_other_and_with_one_and_resume_bitwise(tmp_path: Path) -> None:
    """Only rank 0 probes; source, ratio and weights are the same on both. Then kill, resume, and compare bitwise."""
    first, second = two_ranks(tmp_path / "two", "canary")
    assert first["calls"]
    assert not second["calls"]
    assert_as_alone([first, second], alone(tmp_path / "alone", "canary"))

    run = tmp_path / "two" / "run"
    for folder in run.glob("checkpoint-*"):
        if folder.name != "checkpoint-4":
            shutil.rmtree(folder)
    again, _ = two_ranks(tmp_path / "two", "canary", resume=True)
    assert again["weights"] == first["weights"]
    assert again["losses"] == first["losses"]
    assert again["ratio"] == first["ratio"]


def test_two_ranks_penalise_as_one_does(tmp_path: Path) -> None:
    """Each penalty is a mean over the units of both ranks, in the loss, the gradient and the log."""
    whole = alone(tmp_path / "alone", "penalties")
    ranks = two_ranks(tmp_path / "two", "penalties")
    assert_as_alone(ranks, whole)
    for key, values in ranks[0]["penalties"].items():
        assert values == pytest.approx(examples.logged(whole, key), rel=1e-3, abs=1e-8)
        assert values[0] == 0
        assert max(values) > 1e-3
