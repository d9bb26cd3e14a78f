"""``python -m ringfence.sweep.task STEP``: do one step in a process of its own, wherever an engine starts it.

Its commands run one after the other, each in a process of its own, so that memory and cards are free again between
them. Every command goes on where it was stopped, and ``done.json`` is written last. Two tasks of one step wait for each
other, and the second finds it done: a step is not made twice, whoever started it again.
"""

import sys
import time
from pathlib import Path

from filelock import FileLock

from ringfence.core.files import JsonlLog, write_json
from ringfence.core.parent import leave_with_parent
from ringfence.core.plain import read_json
from ringfence.sweep.runner import RINGFENCE, Command
from ringfence.sweep.steps import DONE_FILE, LOG, STEP_FILE

LOCK, STARTED = ".task-lock", "started.jsonl"
FAILED = 1


def run(folder: Path) -> str:
    """Do the step in ``folder``; the last line of the command that failed, empty if none did."""
    about = read_json(folder / STEP_FILE)
    with FileLock(folder / LOCK):
        if (folder / DONE_FILE).is_file() and (folder / about["product"]).exists():
            return ""
        started, journal = time.perf_counter(), JsonlLog(folder / STARTED)
        for arguments in about["commands"]:
            journal.append([{"command": " ".join(arguments)}])
            command = Command([*RINGFENCE, *arguments], folder / LOG)
            try:
                fault = command.fault()
            finally:
                command.stop()
            if fault:
                return fault
        seconds = time.perf_counter() - started
        attempts = sum(row["command"] == " ".join(about["commands"][0]) for row in journal.read())
        write_json(folder / DONE_FILE, {"seconds": seconds, "attempts": attempts})
    return ""


def last_lines(folder: Path, count: int = 5) -> list[str]:
    """The end of a step's log."""
    log = folder / LOG
    return log.read_text(errors="replace").strip().splitlines()[-count:] if log.is_file() else []


if __name__ == "__main__":
    leave_with_parent(FAILED)
    sys.exit(FAILED if run(Path(sys.argv[1])) else 0)
