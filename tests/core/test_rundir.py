"""The run folder's identity: what is recorded, what is refused, and who may train in it."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ringfence.core import rundir
from ringfence.core.errors import RingfenceError

RECIPE = {"name": "a", "seed": 3, "training": {"lr": 1}, "defenses": [{"x": {"ratio": 0.1}}]}


def test_differences_are_dotted_paths() -> None:
    after = {"name": "a", "seed": 4, "training": {"lr": 1, "new": 2}, "defenses": [{"x": {"ratio": 0.2}}]}
    assert rundir.differences(RECIPE, after) == ["seed", "training.new", "defenses.0.x.ratio"]
    assert rundir.differences({"a": [1]}, {"a": [1, 2]}) == ["a"]
    assert rundir.differences(RECIPE, json.loads(json.dumps(RECIPE))) == []


def test_provenance_names_versions_and_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outside = rundir.provenance(RECIPE, {"f": "0"})
    assert outside["git"] == {"revision": None, "dirty": None}
    assert outside["seed"] == 3
    assert outside["inputs"] == {"f": "0"}
    for command in (
        ["init", "-q"],
        ["-c", "user.name=n", "-c", "user.email=e", "commit", "-q", "--allow-empty", "-m", "m"],
    ):
        subprocess.run(["git", *command], check=True)
    clean = rundir.provenance(RECIPE, {})["git"]
    assert len(clean["revision"]) == 40
    assert clean["dirty"] is False
    (tmp_path / "new").touch()
    assert rundir.provenance(RECIPE, {})["git"] == {**clean, "dirty": True}


def test_ours_is_taken_and_anything_else_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    about, out = rundir.provenance(RECIPE, {"f": "0"}), tmp_path / "run"
    rundir.require_ours(out, about)
    rundir.write_about(out, about)
    rundir.require_ours(out, about)
    for changed, key in (
        ({**about, "recipe": {**RECIPE, "seed": 9}}, "seed"),
        ({**about, "inputs": {"f": "1"}}, "inputs.f"),
        ({**about, "base": True}, "base"),
    ):
        with pytest.raises(RingfenceError, match=f"differ: {key};"):
            rundir.require_ours(out, changed)
    with caplog.at_level(logging.WARNING):
        rundir.require_ours(out, {**about, "versions": {**about["versions"], "torch": "9"}})
    assert "torch" in caplog.text
    rundir.write_about(out, {**about, "name": "other"})
    assert rundir.read_about(out)["name"] == "a", "the first word on a run stands"


def test_what_is_no_run_raises(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match="not a run folder"):
        rundir.read_about(tmp_path)
    (tmp_path / "note.txt").touch()
    with pytest.raises(RingfenceError, match="not empty and not a run"):
        rundir.require_ours(tmp_path, {})
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RingfenceError, match="malformed JSON"):
        rundir.read_about(tmp_path)


def test_only_one_process_at_a_time(tmp_path: Path) -> None:
    folder = f"__import__('pathlib').Path({str(tmp_path)!r})"
    code = f"from ringfence.core.rundir import alone_in\nwith alone_in({folder}): pass"
    with rundir.alone_in(tmp_path):
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "another process is training there" in other.stderr
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_a_kill_left_unfinished_is_cleared_away(tmp_path: Path) -> None:
    for left in (tmp_path / "checkpoint-2" / ".tmp-x1", tmp_path / ".tmp-x2"):
        left.mkdir(parents=True)
        (left / "adapter").touch()
        (left / ".in-use").touch()
        os.utime(left, (0, 0))
    (tmp_path / "log.jsonl").touch()
    with rundir.alone_in(tmp_path):
        assert sorted(path.name for path in tmp_path.rglob("*")) == [".lock", "checkpoint-2", "log.jsonl"]


def test_a_failure_before_the_first_file_leaves_no_folder(tmp_path: Path) -> None:
    def fail(out: Path) -> None:
        with rundir.alone_in(out):
            raise RingfenceError("bad input")

    with pytest.raises(RingfenceError, match="bad input"):
        fail(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    with pytest.raises(RingfenceError, match="bad input"):
        fail(tmp_path / "old")
    assert (tmp_path / "old").exists(), "a folder that was there before is the user's"
