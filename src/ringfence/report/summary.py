"""The page's opening in plain words: what was compared, what came out, and what to distrust."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ringfence.report import wording
from ringfence.report.results import LEAK_METRIC, LEAK_SUITE, RunResult, baseline_of
from ringfence.report.tables import comparison

HIDDEN_PEAK = 0.05  # a peak this far above the final rate (as a fraction) is pointed out
NO_BREAK = "\u00a0"  # keeps a rate and its interval on one line
MANY_UNSCORED = 0.05  # as a fraction of a suite's answers


@dataclass(frozen=True)
class Summary:
    """Sentences: ``findings`` say what came out, ``cautions`` what the numbers do not show."""

    findings: list[str]
    cautions: list[str]


def summarize_runs(runs: Sequence[RunResult], baseline: str | None = None) -> Summary:
    """The findings on the leak (the general suite, else the first one) and every caution that the data call for."""
    reference = baseline_of(runs, baseline)
    frame = comparison(runs, reference.name)
    suites = list(frame["suite"].unique())
    findings = []
    if suites:
        suite = LEAK_SUITE if LEAK_SUITE in suites else suites[0]
        rates = frame[(frame["metric"] == LEAK_METRIC) & (frame["suite"] == suite)].set_index("run")
        findings = _findings(runs, rates, reference, suite)
    return Summary(findings, [*_hidden_peaks(runs), *_gaps_in_the_data(runs)])


def _findings(runs: Sequence[RunResult], rates: pd.DataFrame, reference: RunResult, suite: str) -> list[str]:
    measured = rates[rates["value"].notna()]
    if measured.empty:
        return [f"No run has a scored answer on the {suite} prompts yet."]
    sentences = []
    if reference.name in measured.index:
        share = _stated(measured.loc[reference.name])
        sentences.append(f"On {suite} prompts, {share} of the scored answers of {reference.name} are misaligned.")
    for run in runs:
        if run.status == "untuned" and run.name in measured.index and run is not reference:
            sentences.append(f"The untuned model {run.name} starts from {_stated(measured.loc[run.name])}.")
    others = [
        run.name for run in runs if run.status != "untuned" and run is not reference and run.name in measured.index
    ]
    if others:
        best = min(others, key=lambda name: measured.loc[name, "value"])
        sentences.append(_lowest(best, measured.loc[best], reference.name))
    return sentences


def _lowest(name: str, row: pd.Series, baseline: str) -> str:
    text = f"The lowest of the other trained runs is {name} with {_stated(row)}"
    if math.isnan(row["gap"]):
        return f"{text}; {baseline} has no data to compare with."
    side = "below" if row["gap"] < 0 else "above"
    text += f", {abs(100 * row['gap']):.1f} points {side} {baseline}"
    if row["gap_low"] <= 0 <= row["gap_high"]:
        return f"{text}; the interval of that gap includes 0, so it may be chance."
    return f"{text}."


def _hidden_peaks(runs: Sequence[RunResult]) -> list[str]:
    sentences = []
    for run in runs:
        final, peak = run.final(), run.peak()
        if final and peak and peak.value - final.value > HIDDEN_PEAK:
            sentences.append(
                f"{run.name} peaked at {wording.percent(peak.value)}% at step {peak.step} and ended at "
                f"{wording.percent(final.value)}%: its final number hides the peak."
            )
    return sentences


def _gaps_in_the_data(runs: Sequence[RunResult]) -> list[str]:
    sentences = []
    for run in runs:
        if run.status == "unfinished":
            sentences.append(f"{run.name} is unfinished: it has no result.json.")
        if run.rates.empty:
            sentences.append(f"{run.name} has not been evaluated: its rates are shown as no data.")
        for suite, counts in run.counts.items():
            rows, missing = counts.get("rows", 0), counts.get("missing", 0)
            if rows and missing / rows > MANY_UNSCORED:
                sentences.append(f"{run.name}: {missing:,} of {rows:,} answers on {suite} prompts could not be scored.")
    return sentences


def _stated(row: pd.Series) -> str:
    text = f"{wording.percent(row['value'])}% {wording.bracket(row['low'], row['high'])}"
    return text.replace(" ", NO_BREAK)
