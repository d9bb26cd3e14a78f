"""Processes of this machine, each with a GPU of its own."""

import time
from pathlib import Path

import pytest

from ringfence.core.files import write_json
from ringfence.sweep.engines import local
from ringfence.sweep.engines.local import LocalEngine, gpus


def test_gpus_are_those_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    assert gpus() == ["2", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus() == []
    assert LocalEngine().slots == local.cores()


def test_each_task_has_the_card_that_is_freest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    show = "import os, sys; open(sys.argv[-1] + '/card', 'w').write(os.environ['CUDA_VISIBLE_DEVICES'])"
    monkeypatch.setattr(local, "_TASK", ("-c", show))
    engine = LocalEngine()
    assert engine.slots == 2
    handles = []
    for name in "ab":
        (tmp_path / name).mkdir()
        handles.append(engine.start(tmp_path / name))
    assert [handle.fault() for handle in handles] == ["", ""]
    assert [(tmp_path / name / "card").read_text() for name in "ab"] == ["2", "5"]
    (tmp_path / "c").mkdir()
    assert engine.start(tmp_path / "c").fault() == ""
    assert (tmp_path / "c" / "card").read_text() == "2"


def test_a_stopped_task_stops_its_command(tmp_path: Path) -> None:
    """The whole chain: the task's process, and below it the command's."""
    write_json(tmp_path / "step.json", {"product": "run", "commands": [["data", "list"]]})
    handle = LocalEngine(1).start(tmp_path)
    started = tmp_path / "started.jsonl"
    for _ in range(600):
        if started.exists():
            break
        time.sleep(0.1)
    handle.stop()
    assert handle.has_ended()
    assert not (tmp_path / "done.json").exists()
    assert started.exists()
