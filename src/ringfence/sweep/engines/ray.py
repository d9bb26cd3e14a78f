"""Ray: a task for each step, with one GPU where the cluster has any; the way past one machine without Slurm.

It is the cluster at ``RAY_ADDRESS``, else one of its own on this machine, gone afterwards. The folder of the sweep must
be one that all machines see. Settings: ``gpus`` and ``cpus`` of a task.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ringfence.core.errors import RingfenceError
from ringfence.core.ray_cluster import import_ray, join_cluster
from ringfence.sweep import task
from ringfence.sweep.runner import cores

_KNOWN = ("gpus", "cpus")


class RayEngine:
    """Tasks of Ray; ``jobs`` of them at a time, as many as the cluster can hold if not given."""

    def __init__(self, jobs: int | None = None, settings: Mapping[str, Any] | None = None) -> None:
        given = dict(settings or {})
        if unknown := [key for key in given if key not in _KNOWN]:
            raise RingfenceError(f"--engine-set {unknown[0]}: Ray's settings are {', '.join(_KNOWN)}")
        self._ray = ray = import_ray()
        self._own = join_cluster(ray, max(jobs or 0, cores()))
        held = ray.cluster_resources()
        gpus = given.get("gpus", 1 if held.get("GPU", 0) else 0)
        cpus = given.get("cpus", 1)
        self.slots = jobs or max(1, int(held["GPU"] / gpus if gpus else held.get("CPU", 1) / cpus))
        self._task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(_do)

    def start(self, folder: Path) -> "RayTask":
        """Where Ray has room."""
        return RayTask(self._ray, self._task.remote(str(folder), str(Path.cwd())), folder)

    def close(self) -> None:
        """End the cluster, if it is our own."""
        if self._own:
            self._ray.shutdown()


class RayTask:
    """A task."""

    def __init__(self, ray: Any, reference: Any, folder: Path) -> None:
        self._ray, self._reference, self._folder = ray, reference, folder

    def has_ended(self) -> bool:
        """Whether Ray says so."""
        return bool(self._ray.wait([self._reference], timeout=0)[0])

    def fault(self) -> str:
        """The last line of the command that failed, or Ray's word for what became of its worker."""
        try:
            return str(self._ray.get(self._reference))
        except self._ray.exceptions.RayError as error:
            return (str(error).strip().splitlines() or ["Ray's worker is gone"])[-1]

    def stop(self) -> None:
        """End its worker, and with it the command."""
        self._ray.cancel(self._reference, force=True)


def _do(folder: str, home: str) -> str:
    """In a worker: the step in ``folder``, from where the driver was started."""
    os.chdir(home)
    return task.run(Path(folder))
