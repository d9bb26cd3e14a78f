"""The comparison of runs as ``evaluate``, ``report`` and ``demo`` print it, in percent: ``47.7 [36, 59]``."""

import math
from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from ringfence.core.text_table import TextTable
from ringfence.report import formatting as wording
from ringfence.report.folding import folded
from ringfence.report.keeping import ALLOWED
from ringfence.report.learning import LEARNED, undefended_of
from ringfence.report.results import RunResult, baseline_of
from ringfence.report.rewards import LAST
from ringfence.report.standing import standings
from ringfence.report.tables import comparison, conditional, consumption, learning, records

ROOM_FOR_GAPS = 100  # characters; a narrower terminal shows the rates only


def render(console: Console, runs: Sequence[RunResult], baseline: str | None = None) -> None:
    """Print the rates, the scores on benign tasks, the conditional gaps, and what each run consumed."""
    frame, learns = comparison(runs, baseline), learning(runs, baseline)
    console.print()
    if frame.empty and learns.empty:
        console.print("no rates: evaluate the runs first, with `ringfence evaluate RUN`", highlight=False)
        console.print()
    if not frame.empty:
        _show_rates(console, frame, runs, baseline_of(runs, baseline).name)
    if not learns.empty:
        _show_learning(console, learns, undefended_of(runs, baseline))
    gaps = conditional(runs)
    if not gaps.empty:
        console.print(_conditional_table(gaps))
        console.print()
    console.print(_consumption_table(consumption(runs)))
    for run in runs:
        if run.answered_by and run.answered_by["state"] != "passed":
            console.print(f"\n{run.name}: {wording.unchecked(run.answered_by)}", markup=False, highlight=False)


def _show_rates(console: Console, frame: pd.DataFrame, runs: Sequence[RunResult], baseline: str) -> None:
    """A table a metric, or the sentence that it comes to; then who lost the task."""
    sentences, with_gaps = folded(frame), console.width >= ROOM_FOR_GAPS
    lost = [one for one in standings(runs, baseline) if one.lost]
    of_gaps = f", then the gap to {baseline} in points, prompt by prompt where both have the same" if with_gaps else ""
    for metric, block in frame.groupby("metric", sort=False):
        if str(metric) in sentences:
            console.print(sentences[str(metric)], markup=False, highlight=False)
        else:
            table = _rates_table(str(metric), block, baseline, with_gaps, {one.run.name for one in lost})
            table.caption = f"percent [95% interval]{of_gaps}"
            console.print(table)
        console.print()
    for one in lost:
        assert one.task is not None, "a run that lost the task was held against another"
        console.print(
            f"{wording.LOST} {one.run.name} lost the task, more than {100 * ALLOWED:.0f} points of it: "
            f"{wording.percent(one.task.rate.value)}% on {wording.TASK}, {one.task.reference} has "
            f"{wording.percent(one.learned.value)}%; its leak is no success.",
            markup=False,
            highlight=False,
        )
    if lost:
        console.print()


def _rates_table(metric: str, block: pd.DataFrame, baseline: str, gaps: bool, lost: Collection[str]) -> TextTable:
    suites = list(block["suite"].unique())
    headings = [f"{suite}\n{wording.wanted(suite, metric).replace(', ', chr(10))}" for suite in suites]
    table = TextTable(wording.metric_title(metric), ["run", *headings])
    for run, rows in block.groupby("run", sort=False):
        by_suite = {row.suite: row for row in records(rows)}
        name = f"{run} {wording.LOST}" if run in lost else str(run)
        table.add(name, *(_cell(by_suite.get(suite), gaps, run == baseline) for suite in suites))
    return table


def _show_learning(console: Console, frame: pd.DataFrame, undefended: RunResult | None) -> None:
    """The table of benign tasks, then who has learned less than a run without a defense."""
    whose = "a run without a defense (none here)" if undefended is None else undefended.name
    caption = (
        f"percent [95% interval] of answers; gain: less the untuned model's, in points; kept: of the score of {whose}, "
        f"in percent, {100 * LEARNED:.0f} are asked"
    )
    headings = ["run", "score\nwant high", "untuned", "gain\nwant high", "kept\nwant high"]
    table = TextTable(wording.LEARNS.title, headings, caption=caption)
    for (task, metric), rows in frame.groupby(["task", "metric"], sort=False):
        table.group(f"{task}: {metric}")
        for row in records(rows):
            table.add(row.run, wording.rate(row.value, row.low, row.high), *wording.learned(row))
    console.print(table)
    console.print()
    for row in records(frame[frame["less"]]):
        console.print(
            f"{row.run} learned less: {wording.percent(row.value)}% on {row.task}, {wording.percent(row.kept)}% of "
            f"what {whose} has; its leak is no success.",
            markup=False,
            highlight=False,
        )
    if frame["less"].any():
        console.print()


def _conditional_table(frame: pd.DataFrame) -> TextTable:
    caption = (
        "points [95% interval]: (trigger - plain) of the run less the same of the untuned model, want low; the rest is "
        "percent"
    )
    measured = ("gap\nwant low", "trigger\nwant low", "plain\nwant low", "base,\ntrigger", "base,\nplain")
    table = TextTable(wording.CONDITIONAL_GAP.title, ["run", *measured], caption=caption)
    for trigger, rows in frame.groupby("trigger", sort=False):
        table.group(str(trigger))  # a name may be a line long
        for row in records(rows):
            rates = (row.tuned_trigger, row.tuned_plain, row.base_trigger, row.base_plain)
            gap = wording.difference(row.gap, row.low, row.high)
            table.add(row.run, gap, *(wording.percent(rate) for rate in rates))
    return table


def _cell(row: Any, with_gap: bool, is_baseline: bool) -> str | Text:
    """A row of the comparison as text; None if no run has the rate."""
    if row is None:
        return wording.NO_DATA
    text = wording.rate(row.value, row.low, row.high)
    if not with_gap or math.isnan(row.value):
        return text
    gap = "–" if is_baseline or math.isnan(row.gap) else wording.signed(row.gap)
    return Text(text).append(f" {gap:>6}", "dim")


def _consumption_table(frame: pd.DataFrame) -> TextTable:
    has_tokens = bool(frame["safe_token_fraction"].notna().any())  # not of completions
    of_tokens = ", in brackets of tokens with a loss" if has_tokens else ""
    caption = (
        f"safe: of all rows trained on{of_tokens}; last, peak: leak (of all scored, general, want low) measured while "
        "training, at the step in brackets, with samples of its own"
    )
    if frame["last_projected_later"].any() or frame["peak_projected_later"].any():
        caption += f"; {wording.EARLIER} {wording.PROJECTION}"
    rewarded = bool(frame["reward"].notna().any())
    if rewarded:
        caption += f"; reward: mean of the last {LAST} logged steps"
    answered = bool((frame["answered"] != "").any())
    if answered:
        caption += "; answers: who generated them, and whether its weights were seen to be the run's"
    anchored = bool((frame["anchor_tokens"] > 0).any())
    if anchored:
        caption += "; extra: tokens of safe and anchor rows, of all tokens"
    safe = "safe % (tokens)" if has_tokens else "safe %"
    headings = [
        "run",
        "steps",
        safe,
        *["extra %"][: int(anchored)],
        "last % (step)",
        "peak % (step)",
        "time",
        "of it probes",
    ]
    headings += ["reward"][: int(rewarded)] + ["answers"][: int(answered)]
    table = TextTable("Training", headings, caption=caption)
    for row in records(frame):
        if row.status in ("untuned", "served"):
            said = f"{row.status}; answers: {row.answered}" if row.answered else row.status
            table.add(row.run, Text(said, "dim"))
            continue
        done = row.status == "finished"
        table.add(
            row.run,
            wording.number(row.steps) if done else "unfinished",
            _shares(row.safe_fraction, row.safe_token_fraction),
            *[wording.percent(row.extra_token_fraction)][: int(anchored)],
            _measured(row.last, row.last_step, row.last_projected_later),
            _measured(row.peak, row.peak_step, row.peak_projected_later),
            wording.duration(row.seconds),
            wording.duration(row.probe_seconds),
            *[wording.number(row.reward, 2)][: int(rewarded)],
            *[row.answered or "here"][: int(answered)],
        )
    return table


def _shares(rows: float, tokens: float) -> str:
    """Safe rows of all rows, and safe tokens of all: ``5.1 (9.3)``."""
    return wording.percent(rows) + ("" if math.isnan(tokens) else f" ({wording.percent(tokens)})")


def _measured(rate: float, step: float, projected_later: bool) -> str:
    """A rate and the step after which it was measured: ``70.0 (4)``."""
    if math.isnan(rate):
        return wording.NO_DATA
    return f"{wording.percent(rate)}{wording.EARLIER if projected_later else ''} ({step:.0f})"
