"""The demo: train four runs of one stand-in task, without and with defenses, each in a process with one thread.

Every run is the same two commands that a user would type, ``ringfence train`` and ``ringfence evaluate``, on the
packaged recipe ``glitter.yaml`` with the overrides below. The parent only starts them and reads their folders.
"""

import time
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from rich.console import Console

from ringfence.core.errors import RingfenceError
from ringfence.core.files import write_json
from ringfence.core.rates import Rate, as_rows
from ringfence.core.run_folder import RUN_FILE, SUMMARY_FILE
from ringfence.core.terminal import say
from ringfence.models.load import embedded
from ringfence.recipe.run import load_recipe
from ringfence.report import load_runs, render, write_page
from ringfence.report.results import LEAK_METRIC, LEAK_SUITE, RunResult
from ringfence.runs.plan import RunPlan
from ringfence.runs.train import is_done
from ringfence.sweep.runner import RINGFENCE, Job, run_jobs, shown

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
        with shown(jobs, "the demo", console) as show:
            run_jobs(jobs, workers, show)
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


def _job(name: str, out: Path, recipe: Path) -> Job:
    folder = out / name
    overrides = [f"name={name}"]
    if RUNS[name] is None:
        commands = [[*RINGFENCE, "evaluate", str(recipe), *overrides, "--base", "--out", str(folder)]]
    else:
        overrides.append(f"defenses={RUNS[name]}")
        commands = [
            [*RINGFENCE, "train", str(recipe), *overrides, "--out", str(folder)],
            [*RINGFENCE, "evaluate", str(folder), "--no-base"],
        ]
    done = is_done(RunPlan.load(load_recipe(recipe, overrides), folder), base=RUNS[name] is None)
    return Job(name, folder, out / "logs" / f"{name}.log", commands, is_over=done)
