"""What a pipe is told while something slow runs: a line now and then, and no bar."""

import io
import threading
import time

import pytest
from rich.console import Console

from ringfence.core import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that the test moves: its one number."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_line_every_thirty_seconds_with_the_time_left(clock: list[float]) -> None:
    """From 20 on, 40 answers in 40 s; 120 are left, so 2 min."""
    said: list[str] = []
    lines = progress.Lines(said.append)
    lines("answers", 20, 180)
    clock[0] += 29
    lines("answers", 40, 180)
    assert said == []
    clock[0] += 11
    lines("answers", 60, 180)
    assert said == ["answers: 60 of 180, about 2 min 0 s left"]
    clock[0] += 29
    lines.say_if_due()
    assert len(said) == 1
    clock[0] += 1
    lines.say_if_due()  # nothing new: the estimate is as old as what it is made of
    assert said[1].startswith("answers: 60 of 180, about 3 min 30 s left")


def test_what_has_just_begun_has_no_estimate(clock: list[float]) -> None:
    said: list[str] = []
    lines = progress.Lines(said.append)
    lines("answers", 180, 180)
    lines("verdicts", 0, 1234)
    clock[0] += 31
    lines.say_if_due()
    assert said == ["verdicts: 0 of 1,234"]


def test_what_is_done_is_said_once(clock: list[float]) -> None:
    """Whatever goes on after it without a count."""
    said: list[str] = []
    lines = progress.Lines(said.append)
    lines("answers", 32, 32)
    for _ in range(3):
        clock[0] += 31
        lines.say_if_due()
    assert said == ["answers: 32 of 32"]
    lines("verdicts", 1, 4)
    assert said[1:] == ["verdicts: 1 of 4"]


def test_no_thread_says_an_older_line_after_a_newer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The beat is held up while it says its line; the count goes on in the meantime."""
    monkeypatch.setattr(progress, "EVERY", 0.0)
    said: list[str] = []
    beaten = threading.Event()

    def say(line: str) -> None:
        if threading.current_thread() is beat:
            beaten.set()
            time.sleep(0.2)
        said.append(line.split(",", maxsplit=1)[0])

    lines = progress.Lines(say)
    beat = threading.Thread(target=lines.say_if_due)
    lines("answers", 0, 24)
    lines("answers", 22, 24)
    beat.start()
    assert beaten.wait(10)
    lines("answers", 24, 24)
    beat.join()
    assert said == ["answers: 0 of 24", "answers: 22 of 24", "answers: 22 of 24", "answers: 24 of 24"]


def test_a_pipe_gets_lines_while_nothing_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.02)
    console = Console(file=io.StringIO(), width=80)
    with progress.watched(console) as watch:
        watch("answers", 0, 5)
        time.sleep(0.2)
    assert console.file.getvalue().count("answers: 0 of 5\n") >= 2  # type: ignore[attr-defined]
    assert "\r" not in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_quick_thing_says_nothing_in_a_pipe() -> None:
    console = Console(file=io.StringIO())
    with progress.watched(console) as watch:
        watch("answers", 5, 5)
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]


def test_a_terminal_gets_a_bar_for_each_thing() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with progress.watched(console) as watch:
        watch("answers", 2, 5)
        watch("verdicts", 1, 5)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "answers" in text
    assert "1/5" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "0.2 s"), (47.2, "47 s"), (59.9, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert progress.duration(seconds) == text
