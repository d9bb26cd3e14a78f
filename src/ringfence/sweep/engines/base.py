"""The one interface of engines: start a step's task, and say later how it ended.

Every engine runs the same command, :mod:`ringfence.sweep.task`, on a folder that all machines see.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from ringfence.core.errors import RingfenceError, did_you_mean


class Handle(Protocol):
    """A task that was started."""

    def has_ended(self) -> bool:
        """Whether it is through, has failed, or is gone."""
        ...

    def fault(self) -> str:
        """Of one that has ended: why it failed, in one line; empty if it did not."""
        ...

    def stop(self) -> None:
        """End it, if it still runs; what it has done stays."""
        ...


class Engine(Protocol):
    """Starts tasks."""

    @property
    def slots(self) -> int:
        """Tasks at a time."""
        ...

    def start(self, folder: Path) -> Handle:
        """Start the task of the step in ``folder``."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


Settings = Mapping[str, Any]
"""of an engine, such as Slurm's partition"""


def engine_of(name: str, jobs: int | None, settings: Settings) -> Engine:
    """The engine ``name``, for ``jobs`` tasks at a time (None: as it sees fit).

    Raises :class:`RingfenceError` for one that there is not, for one whose package is missing, and for a setting that
    it does not have.
    """
    if name not in ENGINES:
        raise RingfenceError(f"--engine {name}: no such engine.{did_you_mean(name, ENGINES)}")
    return ENGINES[name](jobs, settings)


def _local(jobs: int | None, settings: Settings) -> Engine:
    from ringfence.sweep.engines.local import LocalEngine

    if settings:
        raise RingfenceError(f"--engine-set {next(iter(settings))}: local processes have no settings but --jobs")
    return LocalEngine(jobs)


def _slurm(jobs: int | None, settings: Settings) -> Engine:
    from ringfence.sweep.engines.slurm import SlurmEngine

    return SlurmEngine(jobs, settings)


def _ray(jobs: int | None, settings: Settings) -> Engine:
    from ringfence.sweep.engines.ray import RayEngine

    return RayEngine(jobs, settings)


ENGINES: Mapping[str, Callable[[int | None, Settings], Engine]] = {"local": _local, "slurm": _slurm, "ray": _ray}
"""name -> what makes one"""
