"""The page's opening in plain words: what was compared, what came out, and what to distrust."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ringfence.report import wording
from ringfence.report.results import LEAK_METRIC, LEAK_SUITE, RunResult, baseline_of
from ringfence.report.tables import comparison, records

HIDDEN_PEAK = 0.05  # a peak this far above the last rate (a fraction), and above its interval, is pointed out
NO_BREAK = "\u00a0"  # keeps a rate and its interval on one line
MANY_UNSCORED = 0.05  # as a fraction of a suite's answers


@dataclass(frozen=True)
class Summary:
    """Sentences: ``findings`` say what came out, ``cautions`` what the numbers do not show."""

    findings: list[str]
    cautions: list[str]


def summarize_runs(
    runs: Sequence[RunResult], baseline: str | None = None, frame: pd.DataFrame | None = None
) -> Summary:
    """The findings on the leak (the general suite, else the first one) and every caution that the data call for.

    ``frame`` is the :func:`comparison` of the same runs, if it is made already.
    """
    reference = baseline_of(runs, baseline)
    frame = comparison(runs, reference.name) if frame is None else frame
    suites = list(frame["suite"].unique())
    findings = []
    if suites:
        suite = LEAK_SUITE if LEAK_SUITE in suites else suites[0]
        rows = records(frame[(frame["metric"] == LEAK_METRIC) & (frame["suite"] == suite)])
        findings = _findings(runs, {row.run: row for row in rows if not math.isnan(row.value)}, reference, suite)
    return Summary(findings, [*_hidden_peaks(runs), *_gaps_in_the_data(runs)])


def _findings(runs: Sequence[RunResult], rates: dict[str, Any], reference: RunResult, suite: str) -> list[str]:
    """``rates``: the rows of the comparison that hold a number, by run."""
    if not rates:
        return [f"No run has a scored answer on the {suite} prompts yet."]
    sentences = []
    if reference.name in rates:
        share = _stated(rates[reference.name])
        sentences.append(f"On {suite} prompts, {share} of the scored answers of {reference.name} are misaligned.")
    others = [run for run in runs if run.name in rates and run is not reference]
    for run in others:
        if run.status == "untuned":
            sentences.append(f"The untuned model {run.name} starts from {_stated(rates[run.name])}.")
    trained = [rates[run.name] for run in others if run.status != "untuned"]
    if trained:
        sentences.append(_lowest(min(trained, key=lambda row: row.value), reference.name))
    return sentences


def _lowest(row: Any, baseline: str) -> str:
    text = f"The lowest of the other trained runs is {row.run} with {_stated(row)}"
    if math.isnan(row.gap):
        return f"{text}; {baseline} has no data to compare with."
    text += f", {abs(100 * row.gap):.1f} points {'below' if row.gap < 0 else 'above'} {baseline}"
    if row.gap_low <= 0 <= row.gap_high:
        return f"{text}; the interval of that gap includes 0, so it may be chance."
    return f"{text}."


def _hidden_peaks(runs: Sequence[RunResult]) -> list[str]:
    sentences = []
    for run in runs:
        last, peak = run.last(), run.peak()
        # "not <=": a last value without an interval cannot explain the peak away
        if last and peak and peak.value - last.value > HIDDEN_PEAK and not peak.value <= last.high:
            sentences.append(
                f"{run.name} peaked at {wording.percent(peak.value)}% at step {peak.step} and was at "
                f"{wording.percent(last.value)}% at step {last.step}, the last one measured"
                f"{', before safe_lora' if last.projected_later else ''}: the end hides the peak."
            )
    return sentences


def _gaps_in_the_data(runs: Sequence[RunResult]) -> list[str]:
    sentences = []
    for run in runs:
        if run.status == "unfinished":
            missing = "one of its stages" if (run.about.get("recipe") or {}).get("stages") else "it"
            sentences.append(f"{run.name} is unfinished: {missing} has no result.json.")
        if run.rates.empty:
            sentences.append(f"{run.name} has not been evaluated: its rates are shown as no data.")
        unscored = [
            f"{counts['missing']:,} of {counts['rows']:,} on {suite}"
            for suite, counts in run.counts.items()
            if counts["missing"] > MANY_UNSCORED * counts["rows"]
        ]
        if unscored:
            sentences.append(f"{run.name}: answers that could not be scored: {', '.join(unscored)}.")
    return sentences


def _stated(row: Any) -> str:
    return f"{wording.percent(row.value)}% {wording.bracket(row.low, row.high)}".replace(" ", NO_BREAK)
