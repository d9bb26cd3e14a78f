"""Progress of a slow command: bars on a terminal; in a pipe or a file a plain line every 30 seconds."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TaskID

from ringfence.core.terminal import say

EVERY = 30.0
"""seconds between lines"""
Watch = Callable[[str, int, int], None]
"""told of what is counted ("answers"), how many are done, and how many there are"""


@contextmanager
def watched(console: Console) -> Iterator[Watch]:
    """What shows on ``console`` how far things are, until the block ends."""
    if console.is_terminal:
        with _bars(console) as watch:
            yield watch
        return
    lines = Lines(lambda line: say(console, line))
    with beating(lines.say_if_due):
        yield lines


def advancing(watch: Watch, task: str, total: int) -> Callable[[int], None]:
    """What takes in how many more are done, for callers that do not count; ``watch`` is told at once that none are."""
    done = 0

    def advance(more: int = 1) -> None:
        nonlocal done
        done += more
        watch(task, done, total)

    advance(0)
    return advance


class Lines:
    """Says at most every :data:`EVERY` seconds how far the newest thing is, and how long it will still take."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._said, self._lock = say, time.monotonic(), threading.Lock()
        self._task, self._start, self._from, self._done, self._total = "", 0.0, 0, 0, 0

    def __call__(self, task: str, done: int, total: int) -> None:
        """Take in that of ``task`` ``done`` of ``total`` are done."""
        with self._lock:
            if task != self._task:
                self._task, self._start, self._from = task, time.monotonic(), done
            self._done, self._total = done, total
            self._say_if_due()

    def say_if_due(self) -> None:
        """Say how far it is, if the last line is long enough ago."""
        with self._lock:  # saying too: of two threads, none says an older line after a newer one
            self._say_if_due()

    def _say_if_due(self) -> None:
        now = time.monotonic()
        if not self._task or now - self._said < EVERY:
            return
        self._said = now
        self._say(self._line(now))
        if self._done >= self._total:
            self._task = ""  # what is done is said once, whatever comes after it

    def _line(self, now: float) -> str:
        line = f"{self._task}: {self._done:,} of {self._total:,}"
        if self._from < self._done < self._total:
            left = (now - self._start) / (self._done - self._from) * (self._total - self._done)
            line += f", about {duration(left)} left"
        return line


@contextmanager
def beating(beat: Callable[[], None]) -> Iterator[None]:
    """Call ``beat`` now and then from a thread, so that it runs however long the block's own calls take."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(min(1.0, EVERY)):
            beat()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def _bars(console: Console) -> Iterator[Watch]:
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console, transient=True) as progress:
        bars: dict[str, TaskID] = {}

        def watch(task: str, done: int, total: int) -> None:
            if task not in bars:
                bars[task] = progress.add_task(task)
            progress.update(bars[task], completed=done, total=total)

        yield watch


def duration(seconds: float) -> str:
    """``48 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if round(seconds) < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
