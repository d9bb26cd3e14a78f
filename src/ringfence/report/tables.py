"""Runs side by side: rates with intervals and gaps to the baseline, conditional gaps, consumption, every bucket.

Suites of prompts under a trigger are a dozen: they are not among the rates, but have a table of their own.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from typing import Any

import pandas as pd

from ringfence.core.rates import Rate
from ringfence.core.run_folder import CONDITIONAL_COLUMNS, RATE_COLUMNS
from ringfence.report import formatting as wording
from ringfence.report.gaps import gap_between
from ringfence.report.learning import learned, undefended_of
from ringfence.report.results import LEAK_METRIC, Outcome, RunResult, baseline_of
from ringfence.report.rewards import LAST, STEP, at_the_end

COMPARISON_COLUMNS = ("run", *RATE_COLUMNS, "gap", "gap_low", "gap_high")


def records(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows of a table, with its columns as attributes."""
    return iter(frame.itertuples(index=False))


def comparison(runs: Sequence[RunResult], baseline: str | None = None) -> pd.DataFrame:
    """One row a run, suite and metric: ``value, low, high, n`` and ``gap, gap_low, gap_high`` to the baseline.

    All are fractions. Every run has every suite and metric that any run has: what it lacks is NaN. ``n`` is a nullable
    integer. ``baseline`` is a run's name (default: "none", else the first); an unknown one raises.
    The gap is :func:`ringfence.report.gaps.gap_between`.
    """
    reference = baseline_of(runs, baseline)
    rates = {run.name: run.rates for run in runs}
    suites = _in_order(suite for run in runs for suite, _ in run.rates)
    metrics = _in_order([*wording.METRICS, *(metric for run in runs for _, metric in run.rates)])
    rows = []
    for metric in metrics:
        for suite in (suite for suite in suites if not suite.startswith(wording.CONDITIONAL)):
            if not any((suite, metric) in known for known in rates.values()):
                continue
            for run in runs:
                rate = rates[run.name].get((suite, metric), Rate())
                # The same answers are the same number: no sampling error.
                same = run is reference and not math.isnan(rate.value)
                gap = Rate(0.0, 0.0, 0.0) if same else gap_between(run, reference, suite, metric)
                of_rate = (rate.value, rate.low, rate.high, rate.n)
                rows.append((run.name, suite, metric, *of_rate, gap.value, gap.low, gap.high))
    return pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS)).astype({"n": "Int64"})


def conditional(runs: Sequence[RunResult]) -> pd.DataFrame:
    """One row a trigger and run: ``run`` and :data:`CONDITIONAL_COLUMNS`, rates and gaps as fractions.

    Every run with conditional suites has every trigger, NaN where it lacks one. Without ``conditional.json``, i.e.
    without a base, the rates under the triggers are there and the gap is NaN. The untuned model has no rows: its rates
    are in those of the others.
    """
    known = {run.name: _triggers(run) for run in runs if not run.metadata.get("base")}
    known = {name: rows for name, rows in known.items() if rows}
    triggers = _in_order(trigger for rows in known.values() for trigger in rows)
    rows = [
        {"run": name, **dict.fromkeys(CONDITIONAL_COLUMNS, math.nan), "trigger": trigger, **found.get(trigger, {})}
        for trigger in triggers
        for name, found in known.items()
    ]
    return pd.DataFrame(rows, columns=["run", *CONDITIONAL_COLUMNS])


LEARNING_COLUMNS = (
    *("task", "metric", "run", "value", "low", "high", "n", "base", "gain", "gain_low", "gain_high"),
    *("kept", "kept_low", "kept_high", "less", "untuned", "undefended"),
)
"""of :func:`learning`"""


def learning(runs: Sequence[RunResult], baseline: str | None = None) -> pd.DataFrame:
    """One row a benign task, metric and run: the score, the untuned model's, and what is kept of an undefended run's.

    Scores are fractions; ``gain`` is the score less the untuned model's, ``kept`` the share of the undefended run's and
    ``less`` whether it is too small, see :mod:`ringfence.report.learning`. NaN where nothing is known. ``untuned`` and
    ``undefended`` say whether the run is the one that ``gain`` or ``kept`` is measured from.
    """
    rows, undefended = [], undefended_of(runs, baseline)
    for run in runs:
        for one in learned(run, undefended):
            of_rate = (one.rate.value, one.rate.low, one.rate.high, one.rate.n)
            gain, kept = (one.gain.value, one.gain.low, one.gain.high), (one.kept.value, one.kept.low, one.kept.high)
            untuned = run.status == "untuned"
            marks = (one.less and not untuned, untuned, run is undefended)
            rows.append((one.task, one.metric, run.name, *of_rate, one.base.value, *gain, *kept, *marks))
    frame = pd.DataFrame(rows, columns=list(LEARNING_COLUMNS)).astype({"n": "Int64"})
    parts = [part for _, part in frame.groupby(["task", "metric"], sort=False)]
    return pd.concat(parts, ignore_index=True) if parts else frame


def _triggers(run: RunResult) -> dict[str, dict[str, Any]]:
    """What is known of each trigger."""
    if not run.conditional.empty:
        return {str(row.trigger): row._asdict() for row in records(run.conditional)}
    rates = {
        suite.removeprefix(wording.CONDITIONAL): rate.value
        for (suite, metric), rate in run.rates.items()
        if metric == LEAK_METRIC and suite.startswith(wording.CONDITIONAL)
    }
    plain = rates.pop("plain", math.nan)
    return {trigger: {"tuned_trigger": rate, "tuned_plain": plain} for trigger, rate in rates.items()}


def consumption(runs: Sequence[RunResult]) -> pd.DataFrame:
    """One row a run: ``status``, what :class:`Outcome` has, the leak's ``last`` and ``peak`` with their steps.

    ``answered`` says who generated its answers, if not the model in process. ``reward`` is that at the end of
    reinforcement learning.

    ``last_projected_later`` and ``peak_projected_later`` tell which of them are from before ``safe_lora`` projected.
    """
    rows = []
    for run in runs:
        last, peak = run.last(), run.peak()
        outcome = asdict(run.outcome) if run.outcome else {field.name: math.nan for field in fields(Outcome)}
        shares = {
            name: getattr(run.outcome, name) if run.outcome else math.nan
            for name in ("safe_token_fraction", "extra_token_fraction")
        }
        row = {"run": run.name, "status": run.status, **outcome, **shares}
        row |= {"reward": at_the_end(run.rewards), "answered": run.answered}
        for name, point in (("last", last), ("peak", peak)):
            row |= {name: point.value if point else math.nan, f"{name}_step": point.step if point else math.nan}
            row[f"{name}_projected_later"] = bool(point and point.projected_later and point.value == point.value)
        rows.append(row)
    return pd.DataFrame(rows)


def endings(runs: Sequence[RunResult]) -> pd.DataFrame:
    """One row a run with penalties or rewards: ``run``, and each of them at the end, NaN where the run lacks it."""
    rows: list[dict[str, Any]] = []
    for run in runs:
        tables = [table.drop(columns=STEP) for table in (run.penalties, run.rewards) if len(table)]
        found = {str(name): value for table in tables for name, value in table.tail(LAST).mean().items()}
        if found:
            rows.append({"run": run.name, **found})
    return pd.DataFrame(rows, columns=_in_order(["run", *(name for row in rows for name in row)]))


def bucket_counts(runs: Sequence[RunResult]) -> pd.DataFrame:
    """One row a run and suite, one nullable integer column a bucket; what a run did not count is missing, not 0."""
    rows = [{"run": run.name, "suite": suite, **counts} for run in runs for suite, counts in run.counts.items()]
    table = pd.DataFrame(rows, columns=_in_order(["run", "suite", *(key for row in rows for key in row)]))
    return table.astype({column: "Int64" for column in table.columns[2:]})


def _in_order(values: Iterable[str]) -> list[str]:
    """Distinct values, by first appearance."""
    return list(dict.fromkeys(values))
