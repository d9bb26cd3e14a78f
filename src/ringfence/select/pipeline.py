"""The steps of a selection, one after the other, over shards of the pool.

Every step has a folder under ``work``, named after all that its shards depend on: the pool, the steps before it, its
own settings, its files, the model. So a killed selection goes on where it stopped, and another selection from the same
pool, or one whose last step has changed, does not score anything twice.
"""

import hashlib
import importlib.metadata
import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from ringfence.core.errors import RingfenceError, error_prefix
from ringfence.core.files import atomic, sha256, write_json
from ringfence.core.plain import read_json
from ringfence.data.conversations import scan
from ringfence.data.task import is_task
from ringfence.models.load import EMBEDDED, revision
from ringfence.select.base import STEPS, Candidate, Context, Gathered, Mapped, Step, require_enough
from ringfence.select.engines import Engine, Task
from ringfence.select.shards import (
    ShardTable,
    Tally,
    ingest,
    is_whole,
    kept,
    read_about,
    read_shard,
    shards_in,
    write_shard,
)

SHARD_ROWS = 256
logger = logging.getLogger(__name__)
Watch = Callable[[str, int, int], None]
"""is told the step, and how many of how many rows are done"""


@dataclass(frozen=True)
class Selection:
    """What to do: ``steps`` on ``pool``, data sets as :func:`ringfence.data.read` takes them."""

    pool: tuple[str, ...]
    steps: tuple[Step, ...]
    context: Context = field(default_factory=Context)
    shard_rows: int = SHARD_ROWS
    """rows of a shard; the unit of resuming and of parallel work"""

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of every input that is a file or a folder, and of the rows of every other set; commits of the hub.

        Raises :class:`RingfenceError` for what is wrong with any of them, before a model is loaded.
        """
        check(self)
        with error_prefix("pool"):
            found: dict[str, str | None] = {spec: _rows_digest(spec) for spec in self.pool}
        found |= {name: _digest(name) for step in self.steps for name in step.inputs() if name not in found}
        return {name: digest for name, digest in found.items() if digest is not None} | self._model_digest()

    def _model_digest(self) -> dict[str, str]:
        name = self.context.model
        if (folder := Path(name).expanduser()).is_dir():
            return {name: sha256(folder)}
        commit = revision(name)
        return {} if commit is None else {name: commit}


@dataclass(frozen=True)
class Selected:
    """The chosen rows, still as shards, and how they came about."""

    shards: list[Path]
    pool: dict[str, Any]
    """rows read, and those without an answer"""
    steps: list[dict[str, Any]]
    """for every step name, rows before and after, dropped by reason, counts, report"""

    def candidates(self) -> Iterator[Candidate]:
        """One after the other, in the pool's order."""
        return ShardTable(self.shards).candidates()


def run(selection: Selection, work: Path, engine: Engine | None = None, watch: Watch | None = None) -> Selected:
    """Do the steps, going on from what ``work`` has of them.

    Raises :class:`RingfenceError` for bad input, naming the step; nothing is written but under ``work``.
    """
    engine, watch = engine or Engine(), watch or (lambda step, done, total: None)
    folder, digest = pool_of(selection, work)
    pool = read_json(folder / "pool.json")
    _require_enough(selection, len(ShardTable(shards_in(folder))))
    steps: list[dict[str, Any]] = []
    for number, step in enumerate(selection.steps):
        name = STEPS.name_of(type(step))
        with error_prefix(f"steps.{number}.{name}"):
            stage = _Stage(selection, step, folder, work, digest)
            steps.append(stage.run(engine, watch))
        folder, digest = stage.result, stage.digest
    return Selected(shards_in(folder), pool, steps)


def check(selection: Selection) -> None:
    """Raise :class:`RingfenceError` for what is wrong with the steps' files, before any model is loaded."""
    if not selection.steps:
        raise RingfenceError("steps: there are none; give at least one, e.g. `- random: {count: 300}`")
    for number, step in enumerate(selection.steps):
        with error_prefix(f"steps.{number}.{STEPS.name_of(type(step))}"):
            step.check()
            step.fits(selection.context)


def _require_enough(selection: Selection, rows: int) -> None:
    """No step adds rows, so a count that the pool cannot meet need not wait for the steps before it."""
    for number, step in enumerate(selection.steps):
        if isinstance(count := getattr(step, "count", None), int):
            with error_prefix(f"steps.{number}.{STEPS.name_of(type(step))}"):
                require_enough(count, rows, "count")


def pool_of(selection: Selection, work: Path) -> tuple[Path, str]:
    """The pool as shards, read once, and the digest that stands for it."""
    digests = selection.digests  # raises for the steps, too
    with error_prefix("pool"):
        rows = {spec: digests[spec] for spec in selection.pool}
        digest = _hash("pool", list(rows.items()), selection.shard_rows, importlib.metadata.version("ringfence"))
        folder = work / f"pool-{digest}"
        work.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            if not _made(folder, "pool.json"):
                ingest(selection.pool, folder, selection.shard_rows)
    return folder, digest


class _Stage:
    """One step on the shards of ``source``."""

    def __init__(self, selection: Selection, step: Step, source: Path, work: Path, before: str) -> None:
        self.step, self.source, self.context = step, source, selection.context
        self.name = STEPS.name_of(type(step))
        context = selection.context if step.seeded else replace(selection.context, seed=0)
        digests = selection.digests
        read = {name: digests.get(name) for name in (*step.map_inputs(), selection.context.model)}
        writer = [one] if step.generates and (one := context.generator.identity()) else []
        mapped = _hash(before, self.name, step.map_settings(), read, _plain(context), _libraries(), *writer)
        mapped = mapped if step.maps else before
        chosen_by = {name: digests.get(name) for name in step.inputs()}
        gathered = _hash(mapped, self.name, step.model_dump(mode="json"), chosen_by, _plain(selection.context))
        self.digest = gathered if step.gathers else mapped
        self.mapped = work / f"{self.name}-{mapped}" if step.maps else source
        self.result = work / f"{self.name}-{gathered}" if step.gathers else self.mapped

    def run(self, engine: Engine, watch: Watch) -> dict[str, Any]:
        self.step.look(ShardTable(shards_in(self.source)))
        if self.step.maps:
            with _alone(self.mapped):
                self._map(engine, watch)
        dropped, counts = Tally(), Counter[str]()
        for path in shards_in(self.mapped) if self.step.maps else []:
            said = read_about(path)
            dropped.add(said.dropped)
            counts.update(said.counts)
        about: dict[str, Any] = {
            "name": self.name,
            "rows_before": len(ShardTable(shards_in(self.source))),
            "rows_after": len(ShardTable(shards_in(self.mapped))),
            "dropped": dropped.found,
            "counts": dict(counts),
            "report": {},
        }
        return about | self._gather(about) if self.step.gathers else about

    def _map(self, engine: Engine, watch: Watch) -> None:
        sources = shards_in(self.source)
        tasks = [Task(path, self.mapped / path.name) for path in sources]
        waiting = [task for task in tasks if not _finished(task.target)]
        total = len(ShardTable(sources))
        done = total - len(ShardTable([task.source for task in waiting]))
        watch(self.name, done, total)

        def on_rows(count: int) -> None:
            nonlocal done
            done += count
            watch(self.name, min(done, total), total)

        engine.run(self.step, self.context, waiting, on_rows)
        watch(self.name, total, total)

    def _gather(self, about: dict[str, Any]) -> dict[str, Any]:
        """Changes to ``about``; the chosen rows are in :attr:`result`, which appears when all are."""
        with _alone(self.result):
            if not _made(self.result, "gathered.json"):
                self._choose(about)
        found: dict[str, Any] = read_json(self.result / "gathered.json")
        return found

    def _choose(self, about: dict[str, Any]) -> None:
        paths = shards_in(self.mapped)
        table = ShardTable(paths)
        if not len(table):
            raise RingfenceError("no rows are left for this step; loosen the steps before it, or widen the pool")
        gathered = self.step.gather(table, self.context)
        assert gathered is not None
        with atomic(self.result) as folder:
            folder.mkdir()
            start = 0
            for path in paths:
                shard = read_shard(path)
                stop = start + len(shard.rows)
                write_shard(folder / path.name, _kept(shard, gathered, start, stop))
                start = stop
            left_out = start - len(gathered.keep)
            dropped = dict(about["dropped"])
            if left_out:
                dropped[gathered.reason] = {"rows": left_out, "first": []}
            changes = {"rows_after": len(gathered.keep), "dropped": dropped, "report": dict(gathered.report)}
            write_json(folder / "gathered.json", changes)


def _kept(shard: Mapped, gathered: Gathered, start: int, stop: int) -> Mapped:
    """The rows of ``shard``, which are rows ``start`` to ``stop`` of the table, that were chosen."""
    places = gathered.keep[(gathered.keep >= start) & (gathered.keep < stop)] - start
    scores = {name: values[start:stop] for name, values in gathered.scores.items()}
    texts = {name: values[start:stop] for name, values in gathered.texts.items()}
    return kept(shard, places.tolist(), scores, texts)


def _rows_digest(spec: str) -> str:
    """SHA-256 of a file, or of the rows of a data set that is none."""
    path = Path(spec).expanduser()
    if path.is_file():
        return sha256(path)
    digest = hashlib.sha256()
    for row in scan(spec):
        digest.update(f"{row}\n".encode())
    return digest.hexdigest()


def _digest(name: str) -> str | None:
    """SHA-256 of a file, a folder or a data set's rows; the commit of a model of the hub; None if unknown."""
    path = Path(name).expanduser()
    if path.exists():
        return sha256(path)
    if name == EMBEDDED:
        return None
    if not name.startswith("builtin:") and not is_task(name) and (commit := revision(name)) is not None:
        return commit
    try:
        return _rows_digest(name)
    except RingfenceError:
        return None


def _finished(shard: Path) -> bool:
    """Whether ``shard`` need not be made; says so where it has been and is damaged."""
    if not shard.is_file():
        return False
    if not (whole := is_whole(shard)):
        logger.warning("%s is damaged and is made again", shard)
    return whole


def _made(folder: Path, about: str) -> bool:
    """Whether ``folder``, which appears whole, still is; a damaged one is removed, to be made again."""
    if not folder.is_dir():
        return False
    if (folder / about).is_file() and all(map(_finished, shards_in(folder))):
        return True
    shutil.rmtree(folder)
    return False


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Only one process at a time makes ``folder``; says so if it has to wait."""
    lock = FileLock(f"{folder}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("another selection is making %s; waiting for it", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _libraries() -> dict[str, str]:
    """What changes the last bits of a number."""
    versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "peft")}
    return versions | {"device": "cuda" if torch.cuda.is_available() else "cpu"}


def _plain(context: Context) -> dict[str, Any]:
    return {name: value for name, value in vars(context).items() if name not in ("loaded", "generator")}


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]
