"""Drive a sweep: start each step when those before it are done, again once if it fails, and go on with the rest.

All that it knows is in the folders of the steps, so that a driver that was killed goes on where it was.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ringfence.core.errors import RingfenceError
from ringfence.core.files import atomic, write_json
from ringfence.core.plain import read_json
from ringfence.sweep.engines import Engine, Handle
from ringfence.sweep.graph import Graph
from ringfence.sweep.plan import SweepPlan
from ringfence.sweep.runner import side_by_side
from ringfence.sweep.steps import RUNS, SWEEP_FILE, Step
from ringfence.sweep.task import last_lines

ATTEMPTS = 2
"""of a step, in one call"""
State = Literal["done", "running", "waiting", "failed", "blocked"]


@dataclass
class Progress:
    """Where the steps of a sweep are."""

    steps: Mapping[str, Step]
    """those that are wanted, by digest, each after those that it needs"""
    states: dict[str, State] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    """digest of a failed step -> why, in one line"""
    already: frozenset[str] = frozenset()
    """those that were done before"""

    @classmethod
    def of(cls, steps: Mapping[str, Step]) -> "Progress":
        """As their folders have it."""
        states: dict[str, State] = {digest: "done" if one.is_done else "waiting" for digest, one in steps.items()}
        return cls(steps, states, already=frozenset(digest for digest, state in states.items() if state == "done"))

    @property
    def counts(self) -> Counter[str]:
        """How many are in each state."""
        return Counter(self.states.values())

    def seconds_left(self, slots: int) -> float | None:
        """By the mean of the done steps of each kind; None while one kind has none."""
        known: dict[str, list[float]] = {}
        for step in self.steps.values():
            if (seconds := step.seconds) is not None:
                known.setdefault(step.kind, []).append(seconds)
        left = [step for digest, step in self.steps.items() if self.states[digest] in ("waiting", "running")]
        if any(step.kind not in known for step in left):
            return None
        return sum(sum(known[step.kind]) / len(known[step.kind]) for step in left) / slots


def drive(graph: Graph, wanted: Sequence[Step], engine: Engine, show: Callable[[Progress], None]) -> Progress:
    """Make ``wanted`` and all that they need; ``show`` is called often. Stops what runs if it is interrupted.

    A step that fails twice is failed, those that need it are blocked, and all others are made.
    """
    progress, tries = Progress.of(graph.after(wanted)), Counter[str]()

    def start(digest: str) -> Handle:
        step = progress.steps[digest]
        step.write()
        tries[digest] += 1
        handle = engine.start(step.folder)
        progress.states[digest] = "running"
        return handle

    def end(digest: str, handle: Handle) -> None:
        _take(progress, digest, handle.fault(), tries[digest])

    side_by_side(engine.slots, lambda: _ready(progress), start, end, lambda: show(progress))
    return progress


def _take(progress: Progress, digest: str, fault: str, tries: int) -> None:
    """What became of a task."""
    step = progress.steps[digest]
    if not fault and step.is_done:
        progress.states[digest] = "done"
    elif tries < ATTEMPTS:
        progress.states[digest] = "waiting"
    else:
        progress.states[digest] = "failed"
        progress.faults[digest] = fault or next(iter(last_lines(step.folder, 1)), "ended without its product")
        _block(progress)


def _block(progress: Progress) -> None:
    for digest, step in progress.steps.items():  # in order, so that one pass reaches all
        if any(progress.states.get(one) in ("failed", "blocked") for one in step.needs):
            progress.states[digest] = "blocked"


def _ready(progress: Progress) -> list[str]:
    return [
        digest
        for digest, step in progress.steps.items()
        if progress.states[digest] == "waiting" and all(progress.states.get(one) == "done" for one in step.needs)
    ]


def claim(plan: SweepPlan, graph: Graph, out: Path, again: bool = False) -> None:
    """Write ``sweep.json`` and the links to the runs; raise :class:`RingfenceError` if files have changed since.

    ``again``: what depends on the changed files may be made anew.
    """
    path = out / SWEEP_FILE
    known: dict[str, Any] = read_json(path) if path.is_file() else {"tables": {}, "files": {}}
    changed = sorted(name for name, digest in graph.files.items() if known["files"].get(name, digest) != digest)
    if changed and not again:
        raise RingfenceError(
            f"{out}: {', '.join(changed)} changed since the sweep was begun; put it back, choose another --out, or "
            "give --again to make anew what depends on it"
        )
    steps = dict(graph.runs) if graph.properties is None else {**graph.runs, "properties": graph.properties}
    runs = {name: {"step": step.folder.name, "digest": step.digest} for name, step in steps.items()}
    before = known["tables"].get(plan.table, {}).get("runs", {})  # those of another --only
    known["tables"][plan.table] = {"path": str(plan.path), "runs": before | runs}
    known["files"] |= graph.files
    write_json(path, known)


def link_runs(graph: Graph, out: Path) -> list[Path]:
    """A link ``OUT/runs/NAME`` to each run folder that is done; returns the links."""
    made = []
    for name, step in graph.runs.items():
        if step.is_done:
            link = out / RUNS / name
            link.parent.mkdir(parents=True, exist_ok=True)
            target = os.path.relpath(step.product, link.parent)
            if not (link.is_symlink() and str(link.readlink()) == target):
                with atomic(link) as path:
                    path.symlink_to(target)
            made.append(link)
    return made
