"""The page's opening in plain words: what was compared, what came out, and what to distrust."""

from collections.abc import Sequence
from dataclasses import dataclass

from ringfence.report import formatting as wording
from ringfence.report.headline import headline
from ringfence.report.left_out import left_out
from ringfence.report.results import RunResult

HIDDEN_PEAK = 0.05  # a peak this far above the last rate (a fraction), and above its interval, is pointed out


@dataclass(frozen=True)
class Summary:
    """Sentences: ``findings`` say what came out, ``cautions`` what the numbers do not show."""

    findings: list[str]
    cautions: list[str]


def summarize_runs(runs: Sequence[RunResult], baseline: str | None = None) -> Summary:
    """The findings, and every caution that the data call for."""
    cautions = [*_hidden_peaks(runs), *_gaps_in_the_data(runs), *left_out(runs, baseline)]
    return Summary(headline(runs, baseline), cautions)


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
            missing = "one of its stages" if (run.metadata.get("recipe") or {}).get("stages") else "it"
            sentences.append(f"{run.name} is unfinished: {missing} has no result.json.")
        if not run.rates and run.benign:
            if any(other.rates for other in runs):
                sentences.append(f"{run.name} was asked benign tasks only: its rates are shown as no data.")
        elif not run.rates:
            sentences.append(f"{run.name} has not been evaluated: its rates are shown as no data.")
    return sentences
