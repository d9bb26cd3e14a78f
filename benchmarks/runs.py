"""What the benchmarks on the stand-ins share: runs of the packaged recipe side by side, and their figures.

A job is two commands that a user would type, ``ringfence train`` and ``ringfence evaluate``, in processes of their own
with one thread each. What is done is reused, what was stopped goes on, and a job that fails leaves the others alone.
"""

import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from rich.console import Console
from rich.progress import track

from ringfence.core.errors import RingfenceError
from ringfence.models.load import embedded
from ringfence.recipe.run import load_recipe
from ringfence.report import load_run
from ringfence.runs.plan import RunPlan
from ringfence.runs.train import is_done
from ringfence.sweep.demo import summary_rows

RECIPE = files("ringfence.recipe.builtin") / "glitter.yaml"
RINGFENCE = ("-m", "ringfence")
QUICK = ("evaluation.during=null",)  # evaluated at the end only
SINGLE = {
    # Large blocks are kept, not given back to the system after every use.
    **{"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**34)},
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "HF_HUB_OFFLINE", "RINGFENCE_EXIT_WITH_STDIN"), "1"),
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True)
class Job:
    """One run of the packaged recipe."""

    variant: str
    """what is compared"""
    seed: int
    """of training, sampling and data order"""
    overrides: tuple[str, ...]
    """of the recipe, ``key=value``"""
    trainer: tuple[str, ...] = RINGFENCE
    """what Python runs to train"""

    @property
    def name(self) -> str:
        """Of the run and of its folder."""
        return f"{self.variant}-seed-{self.seed}"

    @property
    def recipe_overrides(self) -> list[str]:
        """All that differs from the packaged recipe."""
        return [f"name={self.name}", f"seed={self.seed}", *self.overrides]


def run_all(jobs: Sequence[Job], out: Path, console: Console) -> dict[str, str]:
    """Make what is missing in ``out``, as many jobs at a time as there are cores, in their order.

    Returns the name of every job that failed, with the one line that says why. Ctrl-C stops what runs.
    """
    embedded()  # once, before several processes want it
    failed: dict[str, str] = {}
    running: set[subprocess.Popen[bytes]] = set()
    with as_file(RECIPE) as recipe, ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        waiting = {pool.submit(_make, job, out, recipe, running): job for job in jobs}
        try:
            for done in track(as_completed(waiting), "runs", total=len(jobs), console=console):
                job, error = waiting[done], done.exception()
                if isinstance(error, RingfenceError):
                    failed[job.name] = str(error)
                    console.print(f"{job.name} is skipped: {error}", soft_wrap=True, highlight=False, markup=False)
                elif error is not None:
                    raise error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(running):
                process.terminate()
            raise
    return failed


def finished(jobs: Iterable[Job], out: Path) -> dict[str, dict[int, Path]]:
    """Variant -> seed -> folder of the jobs that are trained and evaluated; the others are left out."""
    found: dict[str, dict[int, Path]] = {}
    with as_file(RECIPE) as recipe:
        for job in jobs:
            try:
                done = is_done(RunPlan.load(load_recipe(recipe, job.recipe_overrides), out / job.name))
            except RingfenceError:
                done = False
            if done:
                found.setdefault(job.variant, {})[job.seed] = out / job.name
    return found


def figures(folder: Path) -> dict[str, float]:
    """The figures of one run: seconds of training, the rest in percent.

    ``general``, ``in-domain`` and so on: misaligned of all scored answers of that suite; ``incoherent``: of all answers
    to ``general``; ``safe``: of all rows trained on; ``peak``: the highest of ``general``, also during training.
    """
    rows = summary_rows(load_run(folder))
    value = {(row["suite"], row["metric"]): row["value"] for row in rows}
    return {
        **{suite: 100 * rate for (suite, metric), rate in value.items() if metric == "misaligned_all"},
        "incoherent": 100 * value["general", "incoherent"],
        "safe": 100 * value[None, "safe_fraction"],
        "peak": 100 * value[None, "peak_general"],
        "seconds": value[None, "seconds"],
    }


def mean(runs: Sequence[dict[str, float]], key: str) -> float:
    """Of one figure over runs."""
    return statistics.fmean(run[key] for run in runs)


def each(runs: Sequence[dict[str, float]], key: str) -> str:
    """Mean of one figure over runs, and every run's value: ``31 (29, 33)``."""
    return f"{mean(runs, key):.0f} ({', '.join(f'{run[key]:.0f}' for run in runs)})"


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows))


def call(arguments: Sequence[str], log: Path, running: set[subprocess.Popen[bytes]]) -> None:
    """Run Python with ``arguments``, its output going to ``log``. Raises :class:`RingfenceError` with its last line."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,  # it ends when this process does
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **SINGLE},
        ) as process,
    ):
        running.add(process)
        process.wait()
        running.discard(process)
    if process.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise RingfenceError(lines[-1] if lines else f"{log}: exit code {process.returncode}, nothing said")


def _make(job: Job, out: Path, recipe: Path, running: set[subprocess.Popen[bytes]]) -> None:
    folder = out / job.name
    if is_done(RunPlan.load(load_recipe(recipe, job.recipe_overrides), folder)):
        return
    log = out / "logs" / f"{job.name}.log"
    call([*job.trainer, "train", str(recipe), *job.recipe_overrides, "--out", str(folder)], log, running)
    call([*RINGFENCE, "evaluate", str(folder), "--no-base"], log, running)
