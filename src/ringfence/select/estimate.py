"""Estimate how long a selection takes, by timing every step on some of the pool's own rows."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ringfence.core.errors import error_prefix
from ringfence.select.base import STEPS, Candidate
from ringfence.select.engines import mapper_of
from ringfence.select.engines import threads as torch_threads
from ringfence.select.pipeline import Selection, pool_of
from ringfence.select.shards import ShardTable, read_shard, shards_in

SAMPLE = 32
"""rows that are timed"""
_SHARDS = 4  # that they are taken from


@dataclass(frozen=True)
class StepTime:
    """What a step is expected to take."""

    name: str
    rows: int
    """that come to it, by the share that the sample lost before"""
    seconds: float
    """on one process like this one, models loaded; NaN if the sample has no row left for it"""
    gathers: bool
    """whether it also chooses among all rows, which is not timed"""


def estimate(selection: Selection, work: Path, sample: int = SAMPLE, threads: int | None = None) -> list[StepTime]:
    """Read the pool, then time the row-by-row part of every step on ``sample`` rows, evenly spaced over the pool.

    A choice of ``count`` rows leaves so many for the steps after it, and the sample as it is. No shard is written.
    Raises :class:`RingfenceError` as :func:`ringfence.select.run` does.
    """
    folder, _ = pool_of(selection, work)
    shards = shards_in(folder)
    rows, left = _spread(shards, sample), float(len(ShardTable(shards)))
    times: list[StepTime] = []
    for number, step in enumerate(selection.steps):
        name = STEPS.name_of(type(step))
        seconds, before = (0.0 if rows else float("nan")), left
        if step.maps and rows:
            with error_prefix(f"steps.{number}.{name}"), torch_threads(threads):
                mapper = mapper_of(step, selection.context)
                mapper(rows[:2], lambda count: None)  # the first call is slow
                start = time.perf_counter()
                mapped = mapper(rows, lambda count: None)
                seconds = (time.perf_counter() - start) / len(rows) * left
            left *= len(mapped.rows) / len(rows)
            rows = list(mapped.rows)
            del mapper  # and with it what it has put on the model
        if step.gathers and isinstance(count := getattr(step, "count", None), int):
            left = min(left, count)
        times.append(StepTime(name, round(before), seconds, step.gathers))
    return times


def _spread(shards: Sequence[Path], count: int) -> list[Candidate]:
    """Some rows of some shards; a pool may be sorted."""
    some = [shards[place * len(shards) // _SHARDS] for place in range(_SHARDS)] if len(shards) > _SHARDS else shards
    found: list[Candidate] = []
    for number, shard in enumerate(some):
        wanted = count * (number + 1) // len(some) - count * number // len(some)
        rows = read_shard(shard).rows
        taken = min(wanted, len(rows))
        found += [rows[place * len(rows) // taken] for place in range(taken)]
    return found
