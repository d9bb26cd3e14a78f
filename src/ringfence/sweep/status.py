"""How far the sweeps in a folder are, read off its files. No recipe is read, so that it is said at once."""

from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console

from ringfence.core.errors import RingfenceError
from ringfence.core.plain import read_json
from ringfence.core.text_table import TextTable
from ringfence.sweep.steps import DONE_FILE, STEPS, SWEEP_FILE
from ringfence.sweep.task import LOCK, STARTED, last_lines


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
