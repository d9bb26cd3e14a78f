"""How a sweep is shown: a live table of states while it runs, and the graph before it does."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console
from rich.live import Live
from rich.table import Table

from ringfence.core.errors import RingfenceError
from ringfence.core.plain import read_json
from ringfence.core.progress import Lines, duration
from ringfence.core.terminal import say
from ringfence.core.text_table import TextTable
from ringfence.report.formatting import CONDITIONAL, NO_DATA
from ringfence.sweep.driver import Progress
from ringfence.sweep.steps import DONE_FILE, LOG, STEPS, SWEEP_FILE
from ringfence.sweep.summary import Measured, Summary, comparable, front
from ringfence.sweep.task import LOCK, STARTED, last_lines

MOST = 30
"""rows of the live table; with more steps those that run or failed come first"""
_ORDER = ("running", "failed", "waiting", "blocked", "done")


@contextmanager
def live(console: Console, slots: int) -> Iterator[Callable[[Progress], None]]:
    """What takes in the progress: a table that is drawn anew on a terminal, else a line now and then."""
    if not console.is_terminal:
        lines = Lines(lambda line: say(console, line))
        yield lambda progress: lines("steps", progress.counts["done"], len(progress.steps))
        return
    with Live(console=console, refresh_per_second=2) as shown:
        yield lambda progress: shown.update(table(progress, slots))


def table(progress: Progress, slots: int) -> Table:
    """States, seconds, and how long it will still take."""
    counts, left = progress.counts, progress.seconds_left(slots)
    said = ", ".join(f"{counts[state]} {state}" for state in _ORDER if counts[state])
    about = "" if left is None else f", about {duration(left)} left"
    found = Table("state", "step", "seconds", title=f"{said}{about}")
    order = sorted(progress.steps, key=lambda digest: _ORDER.index(progress.states[digest]))
    for digest in order[:MOST]:
        step = progress.steps[digest]
        seconds = "" if step.seconds is None else f"{step.seconds:.0f}"
        found.add_row(progress.states[digest], f"{step.kind} {step.label}", seconds)
    if len(order) > MOST:
        found.add_row("", f"and {len(order) - MOST} more", "")
    return found


def show_graph(console: Console, progress: Progress) -> None:
    """All steps, a line each with those that it needs, and how many are to do."""
    counts = progress.counts
    say(console, f"{len(progress.steps)} steps, {counts['done']} of them done")
    for digest, step in progress.steps.items():
        needs = ", ".join(progress.steps[one].label for one in step.needs)
        state = "done " if progress.states[digest] == "done" else "to do"
        say(console, f"{state}  {step.kind:9} {step.label}" + (f"  (after {needs})" if needs else ""))


def show_end(console: Console, progress: Progress) -> None:
    """What was made, and of each failed step why and where its log is."""
    made = progress.counts["done"] - len(progress.already)
    say(console, f"{made} made, {len(progress.already)} were done before")
    for digest, fault in progress.faults.items():
        step = progress.steps[digest]
        say(console, f"failed: {step.kind} {step.label}: {fault} (whole log: {step.folder / LOG})")
    blocked = [step.label for digest, step in progress.steps.items() if progress.states[digest] == "blocked"]
    if blocked:
        say(console, f"not made, since they need one that failed: {', '.join(blocked)}")


def show_summary(console: Console, summary: Summary) -> None:
    """Leak, task, incoherent answers, benign tasks and cost of each row of the sweep; a star marks the front."""
    if not summary:
        return
    columns = list(dict.fromkeys(column for found in summary.values() for column in found))
    shown = [one for one in columns if not one.startswith(CONDITIONAL) and not one.endswith("/misaligned_coherent")]
    compared = comparable(summary)
    best = front(summary, compared) if compared else []
    found = TextTable("mean [95% interval] (sd of seeds), percent", ["row", *shown, "front"])
    for row, values in summary.items():
        cells = [_cell(values[one]) if one in values else "–" for one in shown]
        found.add(row, *cells, "*" if row in best else "")
    console.print(found)
    if compared:
        told = ", ".join(compared)
        say(console, f"front (*): no other trained row is as good or better in all of {told}; by the points alone")


def _cell(one: Measured) -> str:
    rate = one.rate
    if math.isnan(rate.value):
        return NO_DATA
    interval = "" if math.isnan(rate.low) else f" [{rate.low:.3g}, {rate.high:.3g}]"
    return f"{rate.value:.3g}{interval}" + ("" if math.isnan(one.spread) else f" ({one.spread:.2g})")


def show_status(console: Console, out: Path) -> None:
    """Every run of the sweeps in the folder ``out``: whether it is done, runs, or what stopped it."""
    path = out / SWEEP_FILE
    if not path.is_file():
        raise RingfenceError(f"{out}: no sweep's folder (it has no {SWEEP_FILE}); give the --out of a sweep")
    for name, about in read_json(path)["tables"].items():
        states = {run: state_of(out / STEPS / one["step"]) for run, one in about["runs"].items()}
        done = sum(state == "done" for state in states.values())
        found = TextTable(f"{name}: {done} of {len(states)} runs done", ["run", "state", "last line of its log"])
        for run, state in states.items():
            last = last_lines(out / STEPS / about["runs"][run]["step"], 1) if state != "done" else []
            found.add(run, state, last[0] if last else "")
        console.print(found)


def state_of(folder: Path) -> str:
    """``done``, ``running``, ``stopped`` (begun, and nobody is at it), or ``not begun``."""
    if (folder / DONE_FILE).is_file():
        return "done"
    if not (folder / STARTED).is_file():
        return "not begun"
    try:
        with FileLock(folder / LOCK).acquire(timeout=0):
            return "stopped"
    except Timeout:
        return "running"
