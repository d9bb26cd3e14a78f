"""How a sweep is shown: a live table of states while it runs, and the graph before it does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table

from ringfence.core.progress import Lines, duration
from ringfence.core.terminal import say
from ringfence.core.text_table import TextTable
from ringfence.report.formatting import CONDITIONAL, NO_DATA
from ringfence.sweep.driver import Progress
from ringfence.sweep.steps import LOG
from ringfence.sweep.summary import ANCHOR_TOKENS, Summary, comparable, front

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
    if not any(found[ANCHOR_TOKENS].rate.value for found in summary.values() if ANCHOR_TOKENS in found):
        shown = [one for one in shown if one != ANCHOR_TOKENS]
    compared = comparable(summary)
    best = front(summary, compared) if compared else []
    found = TextTable("mean [95% interval] (sd of seeds), percent", ["row", *shown, "front"])
    for row, values in summary.items():
        cells = [values[one].said(" ({:.2g})", NO_DATA) if one in values else "–" for one in shown]
        found.add(row, *cells, "*" if row in best else "")
    console.print(found)
    if compared:
        told = ", ".join(compared)
        say(console, f"front (*): no other trained row is as good or better in all of {told}; by the points alone")
