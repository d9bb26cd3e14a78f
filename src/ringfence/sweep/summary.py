"""What a sweep has measured: one number for each row and column, over seeds and over the axes that are averaged.

A column is ``SUITE/METRIC``, as in :mod:`ringfence.sweep.published`, in percent; ``TASK/METRIC`` of benign tasks, with
``_`` for a space; ``ratio/mean``, a fraction; ``cost/seconds``, ``cost/safe_tokens`` (percent of all) and
``cost/anchor_tokens`` (percent of the target rows'); and those of :mod:`ringfence.sweep.columns`.

Seeds of one place in the grid: the mean, the sample standard deviation, and the interval over seeds and prompts
(:mod:`ringfence.core.seeds`). A row that is a mean over places: the mean of theirs, the deviation between them, and an
interval that adds theirs by squares, as independent ones: ``sqrt(sum d^2) / k``.
"""

import csv
import io
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ringfence.core.files import write_text
from ringfence.core.rates import Rate
from ringfence.evaluate.benign import rates as benign_rates
from ringfence.report import RunResult, load_run
from ringfence.report.variants import Variant, variant_rates
from ringfence.sweep.columns import CORRELATION, of_runs, of_sets
from ringfence.sweep.graph import Graph
from ringfence.sweep.measured import Measured, Summary, over_seeds, scaled
from ringfence.sweep.plan import SweepPlan, SweepRun

SECONDS, SAFE_TOKENS, RATIO = "cost/seconds", "cost/safe_tokens", "ratio/mean"
ANCHOR_TOKENS = "cost/anchor_tokens"
_OUTCOMES = {
    SECONDS: ("seconds", 1.0),
    SAFE_TOKENS: ("safe_token_fraction", 100.0),
    ANCHOR_TOKENS: ("anchor_token_fraction", 100.0),
    RATIO: ("mean_ratio", 1.0),
}
BETTER_LOW = ("misaligned_all", "misaligned_coherent", "incoherent", "safe_tokens", "anchor_tokens")
"""metrics; of all others more is better, as of the task"""
ASIDE = ("ratio/", "train/")
"""how columns begin that are neither good nor bad"""
_ASIDE = ("/misaligned_coherent", CORRELATION)
_TASK = "in-domain"


def summarise(plan: SweepPlan, graph: Graph) -> dict[str, dict[str, Measured]]:
    """Of the runs of ``plan`` that are done, and of the rows of which all runs are."""
    found: dict[str, dict[str, Measured]] = {}
    for row in plan.rows:
        runs = [run for run in plan.runs if run.row == row]
        if runs and all(run.name in graph.runs and graph.runs[run.name].is_done for run in runs):
            places = [_place(some, graph) for some in _by_place(runs)]
            columns = dict.fromkeys(column for place in places for column in place)
            found[row] = {column: _over([place.get(column) for place in places]) for column in columns}
    if graph.properties is not None and graph.properties.is_done:
        found |= of_sets(graph.properties.product)
    return found


def write_summary(summary: Summary, path: Path) -> None:
    """All numbers as CSV: ``row, column, value, low, high, spread, runs``; empty where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("row", "column", "value", "low", "high", "spread", "runs"))
    for row, columns in summary.items():
        for column, one in columns.items():
            numbers = (one.rate.value, one.rate.low, one.rate.high, one.spread)
            writer.writerow([row, column, *("" if math.isnan(x) else f"{x:.6g}" for x in numbers), int(one.rate.n)])
    write_text(path, text.getvalue())


def comparable(summary: Summary) -> list[str]:
    """The columns in which trained rows can be compared, since all of them have a number there.

    Trained are those that took time. Time itself is not compared, as steps run side by side or on several machines; nor
    are rates of coherent answers alone, since incoherent ones are a column, nor what is neither good nor bad.
    """
    trained = [found for found in summary.values() if SECONDS in found]
    columns = dict.fromkeys(column for found in trained for column in found)
    asked = [one for one in columns if one != SECONDS and not one.startswith(ASIDE) and not one.endswith(_ASIDE)]
    return [one for one in asked if all(_has(found, [one]) for found in trained)]


def front(summary: Summary, columns: Sequence[str]) -> list[str]:
    """The rows that no other beats: none is at least as good in all ``columns`` and better in one. By the points alone.

    A row that lacks one of the columns is left out.
    """
    known = {
        row: [_goodness(found[one], one) for one in columns] for row, found in summary.items() if _has(found, columns)
    }
    return [
        row
        for row, own in known.items()
        if not any(
            all(a >= b for a, b in zip(other, own, strict=True)) and other != own
            for name, other in known.items()
            if name != row
        )
    ]


def _has(found: Mapping[str, Measured], columns: Sequence[str]) -> bool:
    return all(one in found and not math.isnan(found[one].rate.value) for one in columns)


def _goodness(one: Measured, column: str) -> float:
    suite, _, metric = column.partition("/")
    low = metric in BETTER_LOW and not (suite == _TASK and metric != "incoherent")
    return -one.rate.value if low else one.rate.value


def _by_place(runs: Iterable[SweepRun]) -> list[list[SweepRun]]:
    """Runs that differ in their seed only, together."""
    places: dict[tuple[str, ...], list[SweepRun]] = {}
    for run in runs:
        places.setdefault(tuple(run.levels.values()), []).append(run)
    return list(places.values())


def _place(runs: Sequence[SweepRun], graph: Graph) -> dict[str, Measured]:
    """All columns of one place in the grid."""
    results = [load_run(graph.runs[run.name].product) for run in runs]
    found: dict[str, Measured] = {}
    for suite, metric in dict.fromkeys(where for one in results for where in one.rates):
        found[f"{suite}/{metric}"] = _suite(results, suite, metric)
    scores = [benign_rates(one.benign) for one in results]
    for where in dict.fromkeys(where for one in scores for where in one):
        values = [one.get(where, Rate()) for one in scores]
        found["/".join(where).replace(" ", "_")] = over_seeds([scaled(one, 100.0) for one in values])
    outcomes = [one.outcome for one in results]
    for column, (name, scale) in _OUTCOMES.items():
        given = [scale * getattr(one, name) for one in outcomes if one is not None]
        if len(given) == len(outcomes):
            found[column] = over_seeds([Rate(value) for value in given])
    return found | of_runs(results, runs[0].recipe)


def _suite(results: Sequence[RunResult], suite: str, metric: str) -> Measured:
    """Of one suite and metric, over the seeds."""
    rates = [one.rates.get((suite, metric), Rate()) for one in results]
    if len(results) == 1:
        return over_seeds([scaled(rates[0], 100.0)])
    variant = Variant(suite, tuple(results))
    row = variant_rates([variant], [suite], metric).iloc[0]
    rate = scaled(Rate(row["value"], row["low"], row["high"], len(results)), 100.0)
    return Measured(rate, 100 * row["sd"])


def _over(places: Sequence[Measured | None]) -> Measured:
    """The mean over places; NaN if one of them has no such number."""
    known = [one for one in places if one is not None]
    if len(known) == 1 and len(places) == 1:
        return known[0]
    if len(known) < len(places):
        return Measured(Rate(n=sum(one.rate.n for one in known)), math.nan)
    rates, count = [one.rate for one in known], len(known)
    value = statistics.fmean(one.value for one in rates)
    below = math.hypot(*(one.value - one.low for one in rates)) / count
    above = math.hypot(*(one.high - one.value for one in rates)) / count
    spread = statistics.stdev(one.value for one in rates)
    return Measured(Rate(value, value - below, value + above, sum(one.n for one in rates)), spread)
