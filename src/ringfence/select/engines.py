"""Run the row-by-row part of a step: in this process, or on the workers of a Ray cluster.

An engine takes shards and leaves shards. Each goes through the same function, so both make the same bytes from the same
shards, batches and threads. Ray's workers must see the same files: on more than one machine, a shared folder.
"""

import importlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from ringfence.core.errors import RingfenceError
from ringfence.core.ray_cluster import import_ray, join_cluster
from ringfence.select.base import Context, Mapper, Step
from ringfence.select.shards import read_shard, write_shard

Watch = Callable[[int], None]
"""is told the number of rows just finished"""


@dataclass(frozen=True)
class Task:
    """One shard to make."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Engine:
    """How many processes do the work."""

    kind: Literal["local", "ray"] = "local"
    workers: int = 1
    """Ray's; each loads the models"""
    threads: int | None = None
    """of each process; None leaves torch's own number, and with Ray shares the cores among the workers"""

    def run(self, step: Step, context: Context, tasks: Sequence[Task], watch: Watch) -> None:
        """Make the shards of ``tasks``. Raises :class:`RingfenceError` as the step does, and without Ray."""
        if not tasks:
            return
        if self.kind == "ray":
            self._on_ray(step, context, tasks, watch)
            return
        with threads(self.threads):
            mapper = mapper_of(step, context)
            for task in tasks:
                _make(mapper, task, watch)

    def _on_ray(self, step: Step, context: Context, tasks: Sequence[Task], watch: Watch) -> None:
        ray = import_ray()
        importlib.import_module("ray.data")
        rows = [{"source": str(task.source.resolve()), "target": str(task.target.resolve())} for task in tasks]
        with _cluster(ray, self.workers):
            gpus = _gpus_each(ray, self.workers)
            share = self.threads or max(1, (os.cpu_count() or 1) // self.workers)
            shards = ray.data.from_items(rows, override_num_blocks=len(rows))
            done = shards.map_batches(
                _Worker,
                fn_constructor_args=(step, context, share, str(Path.cwd())),
                batch_size=1,
                num_cpus=1,
                num_gpus=gpus,
                compute=ray.data.ActorPoolStrategy(size=self.workers),
            )
            for batch in done.iter_batches(batch_size=1, prefetch_batches=0):
                for rows_done, failed in zip(batch["rows"], batch["failed"], strict=True):
                    if failed:
                        raise RingfenceError(str(failed))
                    watch(int(rows_done))


class _Worker:
    """A process of Ray's with its models loaded."""

    def __init__(self, step: Step, context: Context, share: int, folder: str) -> None:
        torch.set_num_threads(share)
        if Path(folder).is_dir():
            os.chdir(folder)  # the paths in a recipe may be relative
        self._step, self._context = step, context
        self._mapper: Mapper | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        done: list[int] = []
        failed: list[str] = []
        for source, target in zip(batch["source"], batch["target"], strict=True):
            seen: list[int] = [0]
            try:
                # Bad input goes back as a value: an exception would come wrapped in Ray's own, and be tried again.
                self._mapper = self._mapper or mapper_of(self._step, self._context)
                _make(self._mapper, Task(Path(source), Path(target)), seen.append)
                failed.append("")
            except RingfenceError as error:
                failed.append(str(error))
            done.append(sum(seen))
        return {"rows": done, "failed": failed}


@contextmanager
def _cluster(ray: Any, workers: int) -> Iterator[None]:
    """A cluster that is there already, else one of our own on this machine, gone afterwards."""
    joined = join_cluster(ray, max(workers, os.cpu_count() or 1))
    for name in ("ray.data", "ray.data._internal"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        if joined:
            ray.shutdown()


def _gpus_each(ray: Any, workers: int) -> float:
    """One where the cluster has any. Raises :class:`RingfenceError` if there are fewer than workers."""
    gpus = ray.cluster_resources().get("GPU", 0)
    if 0 < gpus < workers:
        raise RingfenceError(
            f"--workers: the cluster has {gpus:g} GPUs for {workers} workers; ask for as many, or fewer"
        )
    return 1 if gpus else 0


def mapper_of(step: Step, context: Context) -> Mapper:
    """What ``step``, which has a row-by-row part, does to rows; its models are loaded."""
    mapper = step.map(context)
    assert mapper is not None, f"{type(step).__name__} has nothing to do row by row"
    return mapper


def _make(mapper: Mapper, task: Task, watch: Watch) -> None:
    write_shard(task.target, mapper(read_shard(task.source).rows, watch))


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """``count`` threads of torch's inside; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
