"""Jobs side by side, on commands that are a line of Python: what stops, what goes on, what is shown."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

import project
from ringfence.core import progress
from ringfence.core.errors import RingfenceError
from ringfence.sweep import runner
from ringfence.sweep.runner import Command, Job, call, run_jobs, shown, side_by_side

SLEEP = "import time; time.sleep(60)"


def job(folder: Path, name: str, *scripts: str, is_over: bool = False) -> Job:
    """A job whose commands are ``scripts``, run in its folder."""
    (folder / name).mkdir(exist_ok=True)
    there = f"import os, pathlib, sys; os.chdir({str(folder / name)!r})\n"
    return Job(name, folder / name, folder / "logs" / f"{name}.log", [["-c", there + one] for one in scripts], is_over)


def run(*jobs: Job, workers: int | None = 2) -> None:
    run_jobs(jobs, workers, lambda: None)


@pytest.fixture(autouse=True)
def looking_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "EVERY", 0.01)


def test_jobs_run_side_by_side(tmp_path: Path) -> None:
    """Each waits for a file that the other makes."""
    meet = "pathlib.Path('here').touch()\nwhile not pathlib.Path('../{}/here').exists(): pass"
    a, b = job(tmp_path, "a", meet.format("b")), job(tmp_path, "b", meet.format("a"))
    run(a, b)
    assert a.is_over
    assert b.is_over


def test_no_more_run_at_a_time_than_there_are_workers_and_they_keep_their_order(tmp_path: Path) -> None:
    """Each command says when it begins and when it ends; with one worker no two are mixed."""
    order = "log = open('../order', 'a'); print('{0}', file=log, flush=True); print('{0}', file=log)"
    run(*(job(tmp_path, name, order.format(name + "1"), order.format(name + "2")) for name in "bac"), workers=1)
    assert (tmp_path / "order").read_text().split() == [n for n in ("b1", "b2", "a1", "a2", "c1", "c2") for _ in "12"]


def test_a_command_has_one_thread_and_what_the_caller_adds(tmp_path: Path) -> None:
    one = job(tmp_path, "a", "print(*(os.environ[n] for n in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'ADDED', 'HOME')))")
    run_jobs([one], 1, lambda: None, {"ADDED": "yes"})
    assert one.log.read_text().split() == ["1", "1", "yes", os.environ["HOME"]]


def test_what_is_done_is_not_run_again(tmp_path: Path) -> None:
    done = job(tmp_path, "a", "pathlib.Path('ran').touch()", is_over=True)
    run(done, job(tmp_path, "b", "pathlib.Path('ran').touch()"))
    assert not (tmp_path / "a" / "ran").exists()
    assert (tmp_path / "b" / "ran").exists()


def test_a_job_that_fails_stops_all_and_names_its_log(tmp_path: Path) -> None:
    other = job(tmp_path, "other", "pathlib.Path('pid').write_text(str(os.getpid()))\n" + SLEEP)
    wait = "while not pathlib.Path('../other/pid').exists(): pass\n"
    bad = job(
        tmp_path, "bad", "print('before')", wait + "print('first'); sys.exit('no such file')", "open('never', 'w')"
    )
    with pytest.raises(RingfenceError, match=r"^the run bad failed: no such file \(whole log: .*bad\.log\); mend it"):
        run(bad, other, job(tmp_path, "third", "open('never', 'w')"))
    assert bad.log.read_text().split("\n")[:2] == ["before", "first"]
    assert not list(tmp_path.glob("*/never"))
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "other" / "pid").read_text()), 0)


def test_with_someone_to_tell_the_others_go_on(tmp_path: Path) -> None:
    said: list[tuple[str, str]] = []
    jobs = [
        job(tmp_path, "bad", "sys.exit('no such file')", "open('never', 'w')"),
        job(tmp_path, "silent", "print('all is well')", "sys.exit(3)"),
        job(tmp_path, "good", "open('ran', 'w')"),
    ]
    run_jobs(jobs, 1, lambda: None, on_fault=lambda one, fault: said.append((one.name, fault)))
    assert said == [("bad", "no such file"), ("silent", "exit code 3, nothing said")]
    assert not (tmp_path / "bad" / "never").exists()
    assert (tmp_path / "good" / "ran").exists()
    assert all(one.is_over for one in jobs)


def test_what_runs_is_stopped_when_the_parent_leaves(tmp_path: Path) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    one = job(tmp_path, "a", SLEEP)
    with pytest.raises(KeyboardInterrupt):
        run_jobs([one], 1, interrupted)
    assert one.running is not None
    assert one.running.has_ended


def test_a_killed_parent_closes_the_standard_input_of_what_runs(tmp_path: Path) -> None:
    """Which ends a command of Ringfence; here it makes a file."""
    child = "import pathlib, sys; pathlib.Path('began').touch(); sys.stdin.read(); pathlib.Path('closed').touch()"
    code = f"from pathlib import Path; from ringfence.sweep.runner import call; call(['-c', {child!r}], Path('log'))"
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path) as parent:
        _wait_for(tmp_path / "began")
        parent.send_signal(signal.SIGKILL)
    _wait_for(tmp_path / "closed")


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.02)


def test_one_command_alone(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "a.log"
    call(["-c", "print('well')"], log)
    with pytest.raises(RingfenceError, match=r"^exit code 4, nothing said$"):
        call(["-c", "raise SystemExit(4)"], log)
    with pytest.raises(RingfenceError, match=r"^bad$"):
        call(["-c", "raise SystemExit('bad')"], log)
    assert log.read_text() == "well\nbad\n", "what was printed before is kept"


def test_progress_is_read_off_the_run_folder(tmp_path: Path) -> None:
    """Training is 85 of 100."""
    one = job(tmp_path, "a")
    assert one.progress() == 0
    project.write_jsonl(one.folder / "log.jsonl", [{"progress": 0.2}, {"progress": 0.4}])
    assert one.progress() == pytest.approx(0.34)
    (one.folder / "result.json").touch()
    assert one.progress() == 0.85
    one.is_over = True
    assert one.progress() == 1


def test_a_terminal_has_a_bar_each_and_one_over_all(tmp_path: Path) -> None:
    screen = io.StringIO()
    jobs = [job(tmp_path, "one", is_over=True), job(tmp_path, "two")]
    with shown(jobs, "the demo", Console(file=screen, force_terminal=True, width=80)) as show:
        show()
    last = [line for line in screen.getvalue().splitlines() if "%" in line][-3:]
    assert [name in line for name, line in zip(("one", "two", "all"), last, strict=True)] == [True] * 3
    assert [share in line for share, line in zip(("100%", "0%", "50%"), last, strict=True)] == [True] * 3


def test_of_many_jobs_only_those_that_run_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of 10 is over, one runs."""
    monkeypatch.setattr(progress, "EVERY", 0.0)
    jobs = [job(tmp_path, f"job-{number}") for number in range(10)]
    jobs[0].is_over = True
    jobs[1].running = Command(["-c", SLEEP], tmp_path / "log")
    pipe, screen = io.StringIO(), io.StringIO()
    try:
        for console in (Console(file=pipe, width=80), Console(file=screen, force_terminal=True, width=80)):
            with shown(jobs, "the runs", console) as show:
                show()
    finally:
        jobs[1].running.stop()
    assert pipe.getvalue() == "percent of the runs: 10 of 100 (job-1 0%)\n"
    assert ["job-1" in line for line in screen.getvalue().splitlines() if "%" in line][-2:] == [True, False]


def test_the_loop_starts_what_is_ready_when_a_slot_is_free() -> None:
    """Two slots; c is ready when a has ended; what still runs is stopped if one of them raises."""

    class One:
        def __init__(self, name: str) -> None:
            self.name, self.stopped = name, False
            begun.append(self)

        def has_ended(self) -> bool:
            return self.name != "b"

        def stop(self) -> None:
            self.stopped = True

    begun, waiting = list[One](), ["a", "b", "x"]

    def start(name: str) -> One:
        waiting.remove(name)
        return One(name)

    def end(name: str, one: One) -> None:
        if name == "a":
            waiting.insert(0, "c")
        if name == "c":
            raise RingfenceError("c broke")

    with pytest.raises(RingfenceError, match="c broke"):
        side_by_side(2, lambda: waiting, start, end, lambda: None)
    assert [(one.name, one.stopped) for one in begun] == [("a", False), ("b", True), ("c", False)]
    assert waiting == ["x"]
