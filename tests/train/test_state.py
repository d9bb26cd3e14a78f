"""Which checkpoint is whole, and which ones are deleted."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from ringfence.core.run_folder import COMMIT_FILE, STATE_FILE
from ringfence.train.state import (
    checkpoint_step,
    commit,
    flaw,
    newest_checkpoint,
    read_state,
    rotate,
    withdraw,
)

FILES = ("shards/weights.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")
STATE = {"ranks": 1, "mixture": {}, "schedule": {}, "tokens": 0, "step_seconds": 0.5, "probe_seconds": 0.0}


def checkpoint(run: Path, step: int) -> Path:
    folder = run / f"checkpoint-{step}"
    (folder / "shards").mkdir(parents=True)
    (folder / STATE_FILE).write_text(json.dumps({**STATE, "step": step}))
    for name in FILES:
        (folder / name).write_bytes(bytes(range(256)))
    commit(folder)
    return folder


def without(folder: Path, *names: str) -> str:
    """What is wrong with ``folder`` once ``names`` are gone, and the manifest does not know of them."""
    for name in names:
        (folder / name).unlink()
    commit(folder)
    return flaw(folder) or ""


def test_the_manifest_has_every_file_and_nothing_that_a_kill_left_behind(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 3)
    (folder / ".tmp-abc").mkdir()
    (folder / ".tmp-abc" / STATE_FILE).write_text("{")
    commit(folder)
    listed = json.loads((folder / COMMIT_FILE).read_text())
    assert set(listed) == {STATE_FILE, *FILES}
    digest = hashlib.sha256(bytes(range(256))).hexdigest()
    assert listed["shards/weights.safetensors"] == {"bytes": 256, "sha256": digest}
    assert flaw(folder) is None
    assert read_state(folder)["step"] == 3


def test_the_newest_whole_one_is_taken_and_the_others_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By number and not by name: 9 < 10."""
    checkpoint(tmp_path, 9)
    good = checkpoint(tmp_path, 10)
    assert newest_checkpoint(tmp_path) == good
    assert not caplog.records
    withdraw(checkpoint(tmp_path, 11))
    (checkpoint(tmp_path, 12) / STATE_FILE).write_text("{}")
    (tmp_path / "checkpoint-best").mkdir()
    (tmp_path / "checkpoint-99").write_text("a file")
    assert newest_checkpoint(tmp_path) == good
    said = [record.getMessage() for record in caplog.records]
    assert [line.partition(":")[0] for line in said] == [
        str(tmp_path / "checkpoint-12" / STATE_FILE),
        str(tmp_path / "checkpoint-11" / COMMIT_FILE),
    ]
    assert all(line.endswith("; going on from checkpoint-10") for line in said)
    assert newest_checkpoint(tmp_path / "nothing") is None


def test_without_a_whole_one_it_begins_anew_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    withdraw(checkpoint(tmp_path, 4))
    assert newest_checkpoint(tmp_path) is None
    assert "not finished; going on from the beginning" in caplog.text


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "[]",
        "{",
        "{}",
        '{"a": 1}',
        '{"a": {"bytes": "3", "sha256": "x"}}',
        '{"ringfence_state.json": {"bytes": 11}}',
    ],
)
def test_a_manifest_that_is_none_is_damaged(tmp_path: Path, manifest: str) -> None:
    folder = checkpoint(tmp_path, 3)
    (folder / COMMIT_FILE).write_text(manifest)
    assert (flaw(folder) or "").startswith(f"{folder / COMMIT_FILE}: ")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shards/weights.safetensors", "the weights"),
        ("optimizer.pt", "optimizer.pt"),
        ("scheduler.pt", "scheduler.pt"),
        ("rng_state.pth", "rng_state.pth"),
        ("trainer_state.json", "trainer_state.json"),
    ],
)
def test_a_manifest_without_what_a_resume_needs_is_none(tmp_path: Path, name: str, said: str) -> None:
    """The Trainer would go on with a fresh one, and end with other weights."""
    folder = checkpoint(tmp_path, 3)
    assert without(folder, name) == (f"{folder / COMMIT_FILE}: does not list {said}, so not everything can be restored")
    assert newest_checkpoint(tmp_path) is None


def test_every_rank_has_its_random_state(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 3)
    (folder / STATE_FILE).write_text(json.dumps({**STATE, "step": 3, "ranks": 2}))
    for rank in (0, 1):
        (folder / f"rng_state_{rank}.pth").write_bytes(b"r")
    assert without(folder, "rng_state.pth") == ""
    assert "does not list rng_state_1.pth" in without(folder, "rng_state_1.pth")


@pytest.mark.parametrize("state", ["[]", "3", "{}", '{"step": 3}', "", "[" * 5000])
def test_a_state_that_is_none_is_damaged(tmp_path: Path, state: str) -> None:
    folder = checkpoint(tmp_path, 3)
    (folder / STATE_FILE).write_text(state)
    assert without(folder) == f"{folder / STATE_FILE}: is damaged"


def test_a_renamed_checkpoint_is_none(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 3).rename(tmp_path / "checkpoint-8")
    assert "is of step 3" in (flaw(folder) or "")


def steps(run: Path) -> list[int]:
    return sorted(checkpoint_step(folder) for folder in run.iterdir())


def test_the_one_just_written_and_the_best_are_never_deleted(tmp_path: Path) -> None:
    """Checkpoint 8 was passed over when the run went on from 4, so it is older than the new 6."""
    made = {step: checkpoint(tmp_path, step) for step in (2, 4, 6, 8)}
    rotate(made[6], None, None)
    assert steps(tmp_path) == [2, 4, 6, 8]
    rotate(made[6], 3, None)
    assert steps(tmp_path) == [2, 4, 6]
    rotate(made[6], 1, str(made[2]))
    assert steps(tmp_path) == [2, 6]
    rotate(made[6], 1, None)
    assert steps(tmp_path) == [6]
    shutil.rmtree(made[6])


@pytest.mark.parametrize(("name", "step"), [("checkpoint-7", 7), ("checkpoint-", -1), ("checkpoint-7b", -1), ("7", -1)])
def test_steps(name: str, step: int) -> None:
    assert checkpoint_step(Path(name)) == step
