"""Which checkpoint is whole."""

import json
from pathlib import Path

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.train.state import COMMIT_FILE, STATE_FILE, checkpoint_step, is_whole, newest_checkpoint, read_state


def checkpoint(run: Path, step: int, ours: str | None = None, theirs: str | None = None) -> Path:
    folder = run / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / STATE_FILE).write_text(json.dumps({"step": step}) if ours is None else ours)
    (folder / COMMIT_FILE).write_text(json.dumps({"global_step": step}) if theirs is None else theirs)
    return folder


def test_the_newest_whole_one_is_taken(tmp_path: Path) -> None:
    """By number and not by name: 9 < 10; torn ones, of each kind, are passed over."""
    checkpoint(tmp_path, 9)
    good = checkpoint(tmp_path, 10)
    checkpoint(tmp_path, 11, theirs='{"global_step": 1')
    checkpoint(tmp_path, 12, ours="")
    (checkpoint(tmp_path, 13) / COMMIT_FILE).unlink()
    checkpoint(tmp_path, 14, theirs='{"global_step": 12}')
    (tmp_path / "checkpoint-best").mkdir()
    assert newest_checkpoint(tmp_path) == good
    assert newest_checkpoint(tmp_path / "nothing") is None


def test_reading_a_torn_one_raises(tmp_path: Path) -> None:
    torn = checkpoint(tmp_path, 3, theirs="{")
    assert not is_whole(torn)
    with pytest.raises(RingfenceError, match="not a whole checkpoint"):
        read_state(torn)
    assert read_state(checkpoint(tmp_path, 4))["step"] == 4


@pytest.mark.parametrize(("name", "step"), [("checkpoint-7", 7), ("checkpoint-", -1), ("checkpoint-7b", -1)])
def test_steps(name: str, step: int) -> None:
    assert checkpoint_step(Path(name)) == step
