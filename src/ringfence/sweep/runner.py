"""Run things side by side: the loop of all that does so, and jobs, which are commands in processes with one thread.

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
from typing import Protocol, TypeVar

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


class Ending(Protocol):
    """What :func:`side_by_side` has started."""

    def has_ended(self) -> bool:
        """Whether it is through, has failed, or is gone."""
        ...

    def stop(self) -> None:
        """End it, if it still runs; what it has done stays."""
        ...


T = TypeVar("T")
H = TypeVar("H", bound=Ending)


def side_by_side(
    slots: int,
    ready: Callable[[], Sequence[T]],
    start: Callable[[T], H],
    end: Callable[[T, H], None],
    show: Callable[[], None],
) -> None:
    """The one loop that runs things: ``start`` what is ``ready``, ``slots`` at a time, until all has ended.

    What is started must not be ready any more. ``end`` takes each that has ended, in the order of their starts, and
    ``show`` is called often. If one of them raises, or is interrupted, what still runs is stopped.
    """
    running = list[tuple[T, H]]()
    try:
        while True:
            for one in list(ready())[: slots - len(running)]:
                running.append((one, start(one)))
            show()
            if not running:
                return
            time.sleep(EVERY)
            for pair in list(running):
                if pair[1].has_ended():
                    running.remove(pair)
                    end(*pair)
    finally:
        for _, begun in running:
            begun.stop()


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
    waiting = [job for job in jobs if not job.is_over]

    def start(job: Job) -> _Begun:
        waiting.remove(job)
        return _Begun(job, environment)

    def end(job: Job, begun: _Begun) -> None:
        if fault := begun.fault():
            (on_fault or _stop_all)(job, fault)
        job.is_over = True

    side_by_side(workers or cores(), lambda: waiting, start, end, show)


class _Begun:
    """A job whose commands run, one after the other."""

    def __init__(self, job: Job, environment: Mapping[str, str] | None) -> None:
        self._job, self._environment = job, environment
        self._fault = ""
        self._next()

    def has_ended(self) -> bool:
        """Whether all have run, or one has failed; if one has ended well, the next one begins."""
        running = self._job.running
        if running is None or not running.has_ended:
            return False
        self._fault = running.fault()
        if not self._fault and self._job.commands:
            self._next()
            return False
        return True

    def fault(self) -> str:
        """The last line of the one that failed; empty if none has."""
        return self._fault

    def stop(self) -> None:
        """End the one that runs."""
        if self._job.running is not None:
            self._job.running.stop()

    def _next(self) -> None:
        self._job.running = Command(self._job.commands.pop(0), self._job.log, self._environment)


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
