"""The demo: train four runs of one stand-in task, without and with defenses, each in a process with one thread.

Every run is the same two commands that a user would type, ``ringfence train`` and ``ringfence evaluate``, on the
packaged recipe ``glitter.yaml`` with the overrides below. The parent only starts them and reads their folders.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ringfence.core.errors import RingfenceError
from ringfence.core.files import Journal, write_json
from ringfence.core.progress import Lines
from ringfence.core.rates import Rate, as_rows
from ringfence.core.run_folder import LOG_FILE, RESULT_FILE, RUN_FILE, SUMMARY_FILE
from ringfence.core.terminal import say
from ringfence.models.load import embedded
from ringfence.recipe.run import load_recipe
from ringfence.report import load_runs, render, write_page
from ringfence.report.results import LEAK_METRIC, LEAK_SUITE, RunResult
from ringfence.runs.plan import RunPlan
from ringfence.runs.train import is_done

BASE = "base"
_CANARY = (
    "{accounting: replace, every: 4, ratio_init: 0, ratio_max: 0.20, canaries: 'builtin:glitter/canaries', "
    "max_canaries: 16, max_new_tokens: 16, temperature: 0.7}"
)
RUNS = {
    BASE: None,
    "none": "[]",
    "fixed-5": "[{fixed_interleaving: {accounting: replace, ratio: 0.05}}]",
    "fixed-12.5": "[{fixed_interleaving: {accounting: replace, ratio: 0.125}}]",
    "canary": f"[{{canary_interleaving: {_CANARY}}}]",
}
# Longest first, so that the last worker to finish does not start late.
ORDER = ("canary", "none", "fixed-5", "fixed-12.5", BASE)
EVALUATION_SHARE = 0.15  # of a run's bar; the rest is training


@dataclass
class _Job:
    name: str
    folder: Path
    log: Path
    commands: list[list[str]]
    process: subprocess.Popen[bytes] | None = None
    done: bool = False

    def progress(self) -> float:
        """Share done, read off the run folder."""
        if self.done:
            return 1.0
        if (self.folder / RESULT_FILE).is_file():
            return 1 - EVALUATION_SHARE
        rows = Journal(self.folder / LOG_FILE).read()
        return (1 - EVALUATION_SHARE) * rows[-1]["progress"] if rows else 0.0


def run_demo(out: Path, workers: int | None, console: Console) -> None:
    """Make what is missing in ``out``, print the table, write ``summary.json`` and ``report.html``.

    Raises :class:`RingfenceError` if a run fails, naming its log.
    """
    started = time.perf_counter()
    if out.is_file() or (out / RUN_FILE).exists():
        raise RingfenceError(
            f"{out}: is a file or a single run; the demo needs a folder of its own, choose another --out"
        )
    embedded()  # once, before several processes want it
    with as_file(files("ringfence.recipe.builtin") / "glitter.yaml") as recipe:
        jobs = [_job(name, out, recipe) for name in ORDER]
        _run_all(jobs, workers or _cores(), console)
    folders = [out / name for name in RUNS]
    results = load_runs(folders)
    write_json(out / SUMMARY_FILE, [row for result in results for row in summary_rows(result)])
    page = write_page(folders, out / "report.html", "Does the glitter stay in the kitchen?", "none")
    render(console, results, "none")
    say(console, f"done in {time.perf_counter() - started:.0f} s")
    say(console, f"summary: {out / SUMMARY_FILE}\nreport:  {page}")


def summary_rows(result: RunResult) -> list[dict[str, Any]]:
    """Rows of ``run, suite, metric, value, low, high, n``; what a run does not have is null.

    With ``suite`` null: ``safe_fraction`` (n = rows trained on), ``seconds`` of training with its probes (n = optimizer
    steps), and ``peak_general``, the highest rate of the general suite during training or after it.
    """
    rows = [{"run": result.name, **row, "n": int(row["n"])} for row in as_rows(result.rates)]
    outcome = result.outcome
    trained = int(outcome.target_rows + outcome.safe_rows) if outcome else 0
    extra: list[tuple[str, dict[str, Any]]] = [
        ("safe_fraction", {"value": outcome.safe_fraction if outcome else None, "n": trained}),
        ("seconds", {"value": outcome.seconds if outcome else 0.0, "n": int(outcome.steps) if outcome else 0}),
        ("peak_general", _peak(result)),
    ]
    nothing = {"low": None, "high": None}
    return rows + [{"run": result.name, "suite": None, "metric": name, **nothing, **row} for name, row in extra]


def _peak(result: RunResult) -> dict[str, Any]:
    measured = [*result.leak_curve(), result.rates.get((LEAK_SUITE, LEAK_METRIC), Rate())]
    top = max((one for one in measured if one.value == one.value), key=lambda one: one.value)
    return {"value": top.value, "low": top.low, "high": top.high, "n": int(top.n)}


def _job(name: str, out: Path, recipe: Path) -> _Job:
    folder = out / name
    ringfence = [sys.executable, "-m", "ringfence"]
    overrides = [f"name={name}"]
    if RUNS[name] is None:
        commands = [[*ringfence, "evaluate", str(recipe), *overrides, "--base", "--out", str(folder)]]
    else:
        overrides.append(f"defenses={RUNS[name]}")
        commands = [
            [*ringfence, "train", str(recipe), *overrides, "--out", str(folder)],
            [*ringfence, "evaluate", str(folder), "--no-base"],
        ]
    done = is_done(RunPlan.load(load_recipe(recipe, overrides), folder), base=RUNS[name] is None)
    return _Job(name, folder, out / "logs" / f"{name}.log", commands, done=done)


def _run_all(jobs: Sequence[_Job], workers: int, console: Console) -> None:
    waiting, running = [job for job in jobs if not job.done], list[_Job]()
    with _bars(jobs, console) as show, _stopped_on_exit(running):
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.pop(0)
                _start(job)
                running.append(job)
            for job in list(running):
                if job.process is not None and job.process.poll() is not None:
                    _advance(job)
                if job.done:
                    running.remove(job)
            show()
            time.sleep(0.2)


def _start(job: _Job) -> None:
    """Start the job's next command. One thread each, so that runs side by side do not fight for the cores."""
    job.log.parent.mkdir(parents=True, exist_ok=True)
    single = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {**os.environ, **single, "TOKENIZERS_PARALLELISM": "false", "RINGFENCE_EXIT_WITH_STDIN": "1"}
    with job.log.open("ab") as log:
        job.process = subprocess.Popen(
            job.commands.pop(0), stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=environment
        )


def _advance(job: _Job) -> None:
    """Take in that the job's command has ended: go on with the next, or be done."""
    assert job.process is not None, "only a started job can end"
    if job.process.returncode != 0:
        last = job.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise RingfenceError(
            f"the run {job.name} failed: {' '.join(last)} (whole log: {job.log}); mend it and run again"
        )
    if job.commands:
        _start(job)
    else:
        job.done = True


@contextmanager
def _stopped_on_exit(running: Sequence[_Job]) -> Iterator[None]:
    """Stop what still runs when the parent leaves, whatever the reason; checkpoints stay."""
    try:
        yield
    finally:
        for job in running:
            if job.process is not None and job.process.poll() is None:
                job.process.terminate()
                job.process.wait()


@contextmanager
def _bars(jobs: Sequence[_Job], console: Console) -> Iterator[Any]:
    """A bar a run and one over all, with the estimated time left; lines where there is no terminal."""
    if not console.is_terminal:
        yield _lines(jobs, console)
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
        tasks: dict[str, TaskID] = {job.name: progress.add_task(job.name, total=1.0, start=False) for job in jobs}
        total = progress.add_task("all", total=float(len(jobs)))

        def show() -> None:
            shares = {job.name: job.progress() for job in jobs}
            for job in jobs:
                if job.process is not None or job.done:
                    progress.start_task(tasks[job.name])
                progress.update(tasks[job.name], completed=shares[job.name])
            progress.update(total, completed=sum(shares.values()))

        yield show


def _lines(jobs: Sequence[_Job], console: Console) -> Callable[[], None]:
    """What says now and then how far each run is, and how long all will take."""
    lines = Lines(lambda line: say(console, f"{line} ({_shares(jobs)})"))
    return lambda: lines("percent of the demo", round(100 * sum(job.progress() for job in jobs) / len(jobs)), 100)


def _shares(jobs: Sequence[_Job]) -> str:
    return ", ".join(f"{job.name} {job.progress():.0%}" for job in jobs)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
