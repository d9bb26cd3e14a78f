"""Slurm, by submitit: a job for each step. The folder of the sweep must be one that all nodes see.

Settings are those of submitit's ``update_parameters``, such as ``timeout_min``, ``slurm_partition``, ``gpus_per_node``;
and ``cluster``, where ``local`` runs the jobs here, to try it out. Jobs go on when the driver is gone. If it is started
again meanwhile, the job of a step that still runs is taken up again, and not submitted twice.
"""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ringfence.core.errors import RingfenceError, install
from ringfence.core.files import write_json
from ringfence.core.plain import read_json
from ringfence.sweep.steps import DONE_FILE
from ringfence.sweep.task import last_lines

JOBS, JOB_FILE = "slurm", "job.json"
_DEFAULTS = {"timeout_min": 24 * 60, "gpus_per_node": 1, "cpus_per_task": 8}
_MOST = 100  # jobs in the queue at a time


class SlurmEngine:
    """Jobs of Slurm; ``jobs`` of them at a time, 100 if not given."""

    def __init__(self, jobs: int | None = None, settings: Mapping[str, Any] | None = None) -> None:
        given = dict(settings or {})
        cluster = given.pop("cluster", None)
        try:
            import submitit
        except ModuleNotFoundError:
            raise RingfenceError(f"--engine slurm needs submitit; {install('slurm')}") from None
        if cluster is None and shutil.which("sbatch") is None:
            raise RingfenceError("--engine slurm: no `sbatch` here; start it on a node that submits jobs to Slurm")
        self._submitit, self._cluster = submitit, cluster or "slurm"
        self._settings = (_DEFAULTS if cluster is None else {}) | given
        self.slots = jobs or _MOST

    def start(self, folder: Path) -> "SlurmTask":
        """Submit the task, or take up the job of a driver before that still waits or runs."""
        before = self._before(folder)
        if before is not None:
            return SlurmTask(before, folder)
        executor = self._submitit.AutoExecutor(folder=folder / JOBS, cluster=self._cluster)
        try:
            executor.update_parameters(**({"name": folder.name} | self._settings))
            command = [sys.executable, "-m", "ringfence.sweep.task", str(folder.resolve())]
            job = executor.submit(self._submitit.helpers.CommandFunction(command))
        except (NameError, ValueError, TypeError, self._submitit.core.utils.FailedJobError) as error:
            raise RingfenceError(f"--engine slurm: {' '.join(str(error).split())}") from None
        write_json(folder / JOB_FILE, {"job": job.job_id, "cluster": self._cluster})
        return SlurmTask(job, folder)

    def _before(self, folder: Path) -> Any:
        """The job that was submitted for this step before, if Slurm still has it."""
        path = folder / JOB_FILE
        if self._cluster != "slurm" or not path.is_file():
            return None
        job = self._submitit.SlurmJob(folder=folder / JOBS, job_id=str(read_json(path)["job"]))
        return job if job.state in ("PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "REQUEUED") else None

    def close(self) -> None:
        """Jobs go on."""


class SlurmTask:
    """A job. How it ended is read off the step's folder: submitit's own result is a pickle."""

    def __init__(self, job: Any, folder: Path) -> None:
        self._job, self._folder = job, folder

    def has_ended(self) -> bool:
        """Whether Slurm says so."""
        return bool(self._job.done())

    def fault(self) -> str:
        """The last line of its log, or Slurm's word for how it ended."""
        if (self._folder / DONE_FILE).is_file():
            return ""
        said = last_lines(self._folder, 1)
        return said[0] if said else f"job {self._job.job_id} ended as {self._job.state}, nothing said"

    def stop(self) -> None:
        """Cancel the job."""
        self._job.cancel()
