"""What the benchmarks on the stand-ins share: runs of the packaged recipe side by side, and their figures.

What is done is reused, what was stopped goes on, and a run that fails leaves the others alone.
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from rich.console import Console

from ringfence.core.errors import RingfenceError
from ringfence.models.load import embedded
from ringfence.recipe.run import load_recipe
from ringfence.report import load_run
from ringfence.runs.plan import RunPlan
from ringfence.runs.train import is_done
from ringfence.sweep.demo import summary_rows
from ringfence.sweep.runner import RINGFENCE, Job, run_jobs, shown

RECIPE = files("ringfence.recipe.builtin") / "glitter.yaml"
QUICK = ("evaluation.during=null",)  # evaluated at the end only
ENVIRONMENT = {
    # Large blocks are kept, not given back to the system after every use.
    **{"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**34)},
    "HF_HUB_OFFLINE": "1",
}


@dataclass(frozen=True)
class Run:
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


def run_all(runs: Sequence[Run], out: Path, console: Console) -> dict[str, str]:
    """Make what is missing in ``out``, as many runs at a time as there are cores, in their order.

    Returns the name of every run that failed, with the one line that says why. Ctrl-C stops what runs.
    """
    embedded()  # once, before several processes want it
    failed: dict[str, str] = {}

    def skip(name: str, fault: str) -> None:
        failed[name] = fault
        console.print(f"{name} is skipped: {fault}", soft_wrap=True, highlight=False, markup=False)

    with as_file(RECIPE) as recipe:
        jobs = list[Job]()
        for run in runs:
            try:
                jobs.append(_job(run, out, recipe))
            except RingfenceError as error:
                skip(run.name, str(error))
        with shown(jobs, "the runs", console) as show:
            run_jobs(jobs, None, show, ENVIRONMENT, lambda job, fault: skip(job.name, fault))
    return failed


def finished(runs: Iterable[Run], out: Path) -> dict[str, dict[int, Path]]:
    """Variant -> seed -> folder of the runs that are trained and evaluated; the others are left out."""
    found: dict[str, dict[int, Path]] = {}
    with as_file(RECIPE) as recipe:
        for run in runs:
            try:
                done = is_done(RunPlan.load(load_recipe(recipe, run.recipe_overrides), out / run.name))
            except RingfenceError:
                done = False
            if done:
                found.setdefault(run.variant, {})[run.seed] = out / run.name
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


def _job(run: Run, out: Path, recipe: Path) -> Job:
    folder = out / run.name
    commands = [
        [*run.trainer, "train", str(recipe), *run.recipe_overrides, "--out", str(folder)],
        [*RINGFENCE, "evaluate", str(folder), "--no-base"],
    ]
    done = is_done(RunPlan.load(load_recipe(recipe, run.recipe_overrides), folder))
    return Job(run.name, folder, out / "logs" / f"{run.name}.log", commands, is_over=done)
