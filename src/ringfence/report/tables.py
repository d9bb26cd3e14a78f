"""Runs side by side: rates with intervals and gaps to the baseline, conditional gaps, consumption, every bucket.

Suites of prompts under a trigger are a dozen: they are not among the rates, but have a table of their own.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from ringfence.report import wording
from ringfence.report.gaps import Rate, gap_between, rates_of
from ringfence.report.reading import CONDITIONAL_COLUMNS
from ringfence.report.results import LEAK_METRIC, RATE_COLUMNS, Outcome, RunResult, baseline_of

COMPARISON_COLUMNS = ("run", *RATE_COLUMNS, "gap", "gap_low", "gap_high")
ROOM_FOR_GAPS = 100  # characters; a narrower terminal shows the rates only


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
    rates = {run.name: rates_of(run) for run in runs}
    suites = _in_order(suite for run in runs for suite in run.rates["suite"])
    metrics = _in_order([*wording.METRICS, *(metric for run in runs for metric in run.rates["metric"])])
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
    known = {run.name: _triggers(run) for run in runs if not run.about.get("base")}
    known = {name: rows for name, rows in known.items() if rows}
    triggers = _in_order(trigger for rows in known.values() for trigger in rows)
    rows = [
        {"run": name, **dict.fromkeys(CONDITIONAL_COLUMNS, math.nan), "trigger": trigger, **found.get(trigger, {})}
        for trigger in triggers
        for name, found in known.items()
    ]
    return pd.DataFrame(rows, columns=["run", *CONDITIONAL_COLUMNS])


def _triggers(run: RunResult) -> dict[str, dict[str, Any]]:
    """What is known of each trigger."""
    if not run.conditional.empty:
        return {str(row.trigger): row._asdict() for row in records(run.conditional)}
    rates = {
        suite.removeprefix(wording.CONDITIONAL): rate.value
        for (suite, metric), rate in rates_of(run).items()
        if metric == LEAK_METRIC and suite.startswith(wording.CONDITIONAL)
    }
    plain = rates.pop("plain", math.nan)
    return {trigger: {"tuned_trigger": rate, "tuned_plain": plain} for trigger, rate in rates.items()}


def consumption(runs: Sequence[RunResult]) -> pd.DataFrame:
    """One row a run: ``status``, the fields of :class:`Outcome`, the leak's ``last`` and ``peak`` with their steps.

    ``last_projected_later`` and ``peak_projected_later`` tell which of them are from before ``safe_lora`` projected.
    """
    rows = []
    for run in runs:
        last, peak = run.last(), run.peak()
        outcome = asdict(run.outcome) if run.outcome else {field.name: math.nan for field in fields(Outcome)}
        row = {"run": run.name, "status": run.status, **outcome}
        for name, point in (("last", last), ("peak", peak)):
            row |= {name: point.value if point else math.nan, f"{name}_step": point.step if point else math.nan}
            row[f"{name}_projected_later"] = bool(point and point.projected_later and point.value == point.value)
        rows.append(row)
    return pd.DataFrame(rows)


def bucket_counts(runs: Sequence[RunResult]) -> pd.DataFrame:
    """One row a run and suite, one nullable integer column a bucket; what a run did not count is missing, not 0."""
    rows = [{"run": run.name, "suite": suite, **counts} for run in runs for suite, counts in run.counts.items()]
    table = pd.DataFrame(rows, columns=_in_order(["run", "suite", *(key for row in rows for key in row)]))
    return table.astype({column: "Int64" for column in table.columns[2:]})


def render(console: Console, runs: Sequence[RunResult], baseline: str | None = None) -> None:
    """Print the comparison and what each run consumed, in percent: ``47.7 [36, 59]``."""
    frame = comparison(runs, baseline)
    console.print()
    if frame.empty:
        console.print("no rates: evaluate the runs first, with `ringfence evaluate RUN`", highlight=False)
    else:
        console.print(_rates_table(frame, baseline_of(runs, baseline).name, console.width >= ROOM_FOR_GAPS))
    console.print()
    gaps = conditional(runs)
    if not gaps.empty:
        console.print(_conditional_table(gaps))
        console.print()
    console.print(_consumption_table(consumption(runs)))


def _rates_table(frame: pd.DataFrame, baseline: str, gaps: bool) -> Table:
    suites = list(frame["suite"].unique())
    of_gaps = f", then the gap to {baseline} in points, prompt by prompt where both have the same" if gaps else ""
    legend = f"percent [95% interval]{of_gaps}"
    table = _new_table("Evaluation", legend, suites)
    for metric, block in frame.groupby("metric", sort=False):
        table.add_section()
        table.add_row(f"[bold]{_plain(wording.metric_title(str(metric)))}[/bold]")
        for run, rows in block.groupby("run", sort=False):
            by_suite = {row.suite: row for row in records(rows)}
            table.add_row(_plain(str(run)), *(_cell(by_suite.get(suite), gaps, run == baseline) for suite in suites))
    return table


def _conditional_table(frame: pd.DataFrame) -> Table:
    legend = (
        "points [95% interval]: (trigger - plain) of the run less the same of the untuned model; the rest is percent"
    )
    table = _new_table(
        wording.CONDITIONAL_GAP.title, legend, ("gap", "trigger", "plain", "base, trigger", "base, plain")
    )
    for trigger, rows in frame.groupby("trigger", sort=False):
        table.add_section()
        table.add_row(f"[bold]{_plain(str(trigger))}[/bold]")
        for row in records(rows):
            rates = (row.tuned_trigger, row.tuned_plain, row.base_trigger, row.base_plain)
            gap = _plain(wording.difference(row.gap, row.low, row.high))
            table.add_row(_plain(row.run), gap, *(wording.percent(rate) for rate in rates))
    return table


def _new_table(title: str, legend: str, headings: Sequence[str]) -> Table:
    """A table of runs with right-aligned columns."""
    table = Table(title=title, caption=_plain(legend), box=box.SIMPLE_HEAD, pad_edge=False)
    table.title_justify = table.caption_justify = "left"
    table.add_column("run", overflow="fold")
    for heading in headings:
        table.add_column(_plain(heading), justify="right")
    return table


def _cell(row: Any, with_gap: bool, is_baseline: bool) -> str:
    """A row of the comparison as text; None if no run has the rate."""
    if row is None:
        return wording.NO_DATA
    text = _plain(wording.rate(row.value, row.low, row.high))
    if not with_gap or math.isnan(row.value):
        return text
    gap = "–" if is_baseline or math.isnan(row.gap) else wording.signed(row.gap)
    return f"{text} [dim]{gap:>6}[/dim]"


def _consumption_table(frame: pd.DataFrame) -> Table:
    legend = (
        "safe: of all rows trained on; last, peak: leak (misaligned of all scored, general) measured while training, "
        "at the step in brackets, with samples of its own"
    )
    if frame["last_projected_later"].any() or frame["peak_projected_later"].any():
        legend += f"; {wording.EARLIER} {wording.PROJECTION}"
    headings = ("steps", "safe %", "last % (step)", "peak % (step)", "time", "of it probes")
    table = _new_table("Training", legend, headings)
    for row in records(frame):
        if row.status == "untuned":
            table.add_row(_plain(row.run), "[dim]untuned[/dim]")
            continue
        done = row.status == "finished"
        table.add_row(
            _plain(row.run),
            wording.number(row.steps) if done else "unfinished",
            wording.percent(row.safe_fraction),
            _measured(row.last, row.last_step, row.last_projected_later),
            _measured(row.peak, row.peak_step, row.peak_projected_later),
            wording.duration(row.seconds),
            wording.duration(row.probe_seconds),
        )
    return table


def _measured(rate: float, step: float, projected_later: bool) -> str:
    """A rate and the step after which it was measured: ``70.0 (4)``."""
    if math.isnan(rate):
        return wording.NO_DATA
    return f"{wording.percent(rate)}{wording.EARLIER if projected_later else ''} ({step:.0f})"


def _in_order(values: Iterable[str]) -> list[str]:
    """Distinct values, by first appearance."""
    return list(dict.fromkeys(values))


def _plain(text: str) -> str:
    """``text`` with rich's markup switched off: a name like "[red]" prints as it is."""
    return text.replace("[", r"\[")
