"""Jobs by submitit, run here by its local stand-in for Slurm; what Slurm itself says is a stand-in of ours."""

import time
from pathlib import Path
from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.core.files import write_json
from ringfence.sweep.engines import engine_of
from ringfence.sweep.engines.slurm import SlurmEngine


def step(folder: Path, commands: list[list[str]]) -> Path:
    folder.mkdir()
    write_json(folder / "step.json", {"product": "step.json", "commands": commands})
    return folder


def test_a_job_ends_with_its_step_done_or_with_its_last_line(tmp_path: Path) -> None:
    engine = SlurmEngine(2, {"cluster": "local", "timeout_min": 5})
    good, bad = step(tmp_path / "good", []), step(tmp_path / "bad", [["data", "lst"]])
    tasks = [engine.start(folder) for folder in (good, bad)]
    for _ in range(1200):
        if all(task.has_ended() for task in tasks):
            break
        time.sleep(0.1)
    assert tasks[0].fault() == ""
    assert (good / "done.json").is_file()
    assert "lst" in tasks[1].fault()
    assert not (bad / "done.json").exists()


def test_a_job_that_slurm_still_has_is_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import submitit

    class Job:
        def __init__(self, folder: Path, job_id: str) -> None:
            self.job_id, self.state = job_id, {"7": "RUNNING", "8": "COMPLETED"}[job_id]

    submitted: list[Any] = []
    monkeypatch.setattr(submitit, "SlurmJob", Job)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")

    class Executor:
        def __init__(self, folder: Path, cluster: str) -> None:
            assert cluster == "slurm"

        def update_parameters(self, **settings: Any) -> None:
            submitted.append(settings)

        def submit(self, command: Any) -> Any:
            return Job(tmp_path, "7")

    monkeypatch.setattr(submitit, "AutoExecutor", Executor)
    engine = SlurmEngine(None, {"slurm_partition": "gpu"})
    folder = step(tmp_path / "run-abc", [])
    engine.start(folder)
    assert submitted == [
        {"name": "run-abc", "timeout_min": 1440, "gpus_per_node": 1, "cpus_per_task": 8, "slurm_partition": "gpu"}
    ]
    engine.start(folder)
    assert len(submitted) == 1
    write_json(folder / "job.json", {"job": "8", "cluster": "slurm"})
    engine.start(folder)
    assert len(submitted) == 2


def test_without_slurm_and_with_a_bad_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RingfenceError, match="no `sbatch` here"):
        engine_of("slurm", None, {})
    engine = engine_of("slurm", None, {"cluster": "local", "slurm_partitoin": "gpu"})
    with pytest.raises(RingfenceError, match=r"--engine slurm: .*slurm_partitoin"):
        engine.start(step(tmp_path / "a", []))
