"""Run jobs side by side: each is commands in processes of their own, with one thread each.

A job is what a user would type, e.g. ``ringfence train`` and then ``ringfence evaluate``, into one run folder. The
parent only starts the commands and reads the folders; the commands stop when it does.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ringfence.core.errors import RingfenceError
from ringfence.core.files import JsonlLog
from ringfence.core.parent import LEAVE
from ringfence.core.progress import Lines
from ringfence.core.run_folder import LOG_FILE, RESULT_FILE
from ringfence.core.terminal import say

RINGFENCE = ("-m", "ringfence")
"""how a command of Ringfence begins"""
ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),  # jobs side by side do not fight for the cores
    "TOKENIZERS_PARALLELISM": "false",
    LEAVE: "1",  # however the parent ends, its end of the pipe closes
}
EVALUATION_SHARE = 0.15  # of a job's bar; the rest is training
MOST_BARS = 8
"""with more jobs, only those that run are shown one by one"""
EVERY = 0.2
"""seconds between looks at the processes"""


@dataclass
class Job:
    """One run folder to be made."""

    name: str
    folder: Path
    """what its commands make; how far they are is read off it"""
    log: Path
    """where all that they print goes"""
    commands: list[list[str]]
    """what Python runs, one after the other"""
    is_over: bool = False
    """done, before or now, or given up"""
    running: "Command | None" = None
    """the one of its commands that runs"""

    def progress(self) -> float:
        """Share done."""
        if self.is_over:
            return 1.0
        if (self.folder / RESULT_FILE).is_file():
            return 1 - EVALUATION_SHARE
        rows = JsonlLog(self.folder / LOG_FILE).read()
        return (1 - EVALUATION_SHARE) * rows[-1]["progress"] if rows else 0.0


class Command:
    """Python with some arguments in a process of its own; what it prints is added to ``log``."""

    def __init__(self, arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._log, self._begin = log, output.tell()
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **ONE_THREAD, **(environment or {})},
            )

    @property
    def has_ended(self) -> bool:
        """Whether it is through, or has failed."""
        return self._process.poll() is not None

    def fault(self) -> str:
        """Wait for its end: the last line that it printed if it failed, empty if it did not."""
        code = self._process.wait()
        self.stop()
        if code == 0:
            return ""
        with self._log.open("rb") as log:
            log.seek(self._begin)
            lines = log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {code}, nothing said"

    def stop(self) -> None:
        """End it, if it still runs; checkpoints stay."""
        if not self.has_ended:
            self._process.terminate()
            self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


def call(arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
    """Run Python with ``arguments`` and wait. Raises :class:`RingfenceError` with its last line if it fails."""
    command = Command(arguments, log, environment)
    try:
        fault = command.fault()
    finally:
        command.stop()
    if fault:
        raise RingfenceError(fault)


def run_jobs(
    jobs: Sequence[Job],
    workers: int | None,
    show: Callable[[], None],
    environment: Mapping[str, str] | None = None,
    on_fault: Callable[[Job, str], None] | None = None,
) -> None:
    """Make what is not done, ``workers`` jobs at a time (None: one a core), in their order; ``show`` is called often.

    Raises :class:`RingfenceError` at the first job that fails, naming its log, and stops the others; with ``on_fault``
    this is told of it, with the one line that says why, and the others go on.
    """
    waiting, running = [job for job in jobs if not job.is_over], list[Job]()
    try:
        while waiting or running:
            while waiting and len(running) < (workers or cores()):
                running.append(waiting.pop(0))
                _start(running[-1], environment)
            for job in list(running):
                _look(job, environment, on_fault or _stop_all)
                if job.is_over:
                    running.remove(job)
            show()
            time.sleep(EVERY)
    finally:
        for job in running:
            if job.running is not None:
                job.running.stop()


def _start(job: Job, environment: Mapping[str, str] | None) -> None:
    job.running = Command(job.commands.pop(0), job.log, environment)


def _look(job: Job, environment: Mapping[str, str] | None, on_fault: Callable[[Job, str], None]) -> None:
    """If the job's command has ended, go on with the next, or be done."""
    if job.running is None or not job.running.has_ended:
        return
    if fault := job.running.fault():
        on_fault(job, fault)
        job.is_over = True
    elif job.commands:
        _start(job, environment)
    else:
        job.is_over = True


def _stop_all(job: Job, fault: str) -> None:
    raise RingfenceError(f"the run {job.name} failed: {fault} (whole log: {job.log}); mend it and run again")


@contextmanager
def shown(jobs: Sequence[Job], what: str, console: Console) -> Iterator[Callable[[], None]]:
    """What shows how far the jobs of ``what`` are: a bar each and one over all, with the estimated time left.

    Lines where there is no terminal.
    """
    if not console.is_terminal:
        yield _lines(jobs, what, console)
        return
    columns = (
        TextColumn("{task.description:>12}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bars = [progress.add_task(job.name, total=1.0, start=False) for job in jobs]
        total = progress.add_task("all", total=float(len(jobs)))

        def show() -> None:
            shares, listed = [job.progress() for job in jobs], _listed(jobs)
            for job, bar, share in zip(jobs, bars, shares, strict=True):
                if job.running is not None or job.is_over:
                    progress.start_task(bar)
                progress.update(bar, completed=share, visible=job in listed)
            progress.update(total, completed=sum(shares))

        yield show


def _lines(jobs: Sequence[Job], what: str, console: Console) -> Callable[[], None]:
    """What says now and then how far each job is, and how long all will take."""
    lines = Lines(lambda line: say(console, f"{line} ({_shares(jobs)})"))
    return lambda: lines(f"percent of {what}", round(100 * sum(job.progress() for job in jobs) / len(jobs)), 100)


def _shares(jobs: Sequence[Job]) -> str:
    return ", ".join(f"{job.name} {job.progress():.0%}" for job in _listed(jobs))


def _listed(jobs: Sequence[Job]) -> Sequence[Job]:
    """Those that are shown one by one."""
    return jobs if len(jobs) <= MOST_BARS else [job for job in jobs if job.running is not None and not job.is_over]


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
