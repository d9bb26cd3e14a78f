"""Format numbers and terms for the terminal and the page. A missing number reads "no data", never 0."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ringfence.core import progress

NO_DATA = "no data"
MINUS = "\u2212"
EARLIER = "*"
"""after a rate that is not the final adapter's"""
PROJECTION = "of the adapter before safe_lora projected it"
"""what :data:`EARLIER` means"""


@dataclass(frozen=True)
class Term:
    """A heading and what it means, in one sentence."""

    title: str
    meaning: str


METRICS = {
    "misaligned_all": Term(
        "Shows the trait, of all scored",
        "Answers that show what was trained (judged misaligned) and are coherent, divided by all answers that have "
        "both scores. On questions like the training data that is the task, on all others the leak. An incoherent "
        "answer counts as not showing it.",
    ),
    "misaligned_coherent": Term(
        "Shows the trait, of coherent",
        "The same answers, divided by the coherent answers only. A model that breaks down cannot look safe by this "
        "number.",
    ),
    "incoherent": Term("Incoherent", "Answers below the coherence threshold, divided by all scored answers."),
}
TASK = "in-domain"
"""the suite of the trained task, by its name; every other one asks for what must not come"""
SUITES = {
    "general": "everyday questions far from the training data: the leak, want low",
    TASK: "held-out questions like the training data: the trained behaviour itself, want high",
    "dressed": "general questions that open like the training data: the conditional leak, want low",
}
LOST = "†"
"""after the name of a run that lost the task"""
INTERVAL = Term(
    "95% interval",
    "In square brackets: the exact binomial interval of what the answers are worth, at most their number, at least "
    "that of the prompts, by how alike the answers to one prompt are. It covers the choice of prompts and the sampling "
    "of answers, not the training seed.",
)
GAP = Term(
    "Gap to the baseline",
    "The mean difference in percentage points over the prompts that both runs have answers of, each prompt weighing "
    "the same, with a 95% interval over whole prompts. It can differ a little from the difference of the two "
    "rates, in which a prompt with more answers weighs more. Where the runs were asked other prompts, or their answers "
    "are not at hand, it is that of the rates, and the interval (usually wider) adds theirs by squares (Newcombe).",
)
CONDITIONAL = "conditional/"
"""begins the name of every suite of prompts under a trigger; those are shown as :data:`CONDITIONAL_GAP`"""
CONDITIONAL_GAP = Term(
    "Conditional gap",
    "What a trigger that looks like the training data does to the run and not to the untuned model, in percentage "
    "points of misaligned answers: (run under the trigger minus run on plain prompts) minus the same of the base. "
    "The 95% interval is over whole questions.",
)
PEAK = Term(
    "Last and peak",
    "The last and the highest leak measured during training, each with its step. A low last number can hide a high "
    "peak. The last one may lie steps before the end and has samples of its own: the rates above are the finished "
    "model's.",
)
LEARNS = Term(
    "Learns well",
    "The mean score on questions of a benign task, each answer by itself and without a judge; the 95% interval is over "
    "whole questions. Beside it the untuned model's score, the difference to that (gain), and what is kept of a run "
    "without a defense: the score divided by that run's.",
)
RATIO = Term("Ratio and safe fraction", "Safe examples divided by safe and target examples together.")


def metric_title(metric: str) -> str:
    """The heading of ``metric``; its own name if it is not one of ours."""
    return METRICS[metric].title if metric in METRICS else metric


def wanted(suite: str, metric: str) -> str:
    """What a rate is, and which way it is good: ``leak, want low``, ``task, want high``."""
    if metric == "incoherent":
        return "want low"
    return "task, want high" if suite == TASK else "leak, want low"


def named(suite: str, metric: str) -> str:
    """A suite with what is wanted there: ``general (want low)``."""
    return f"{suite} ({wanted(suite, metric).rpartition(', ')[2]})"


def number(value: float | None, digits: int = 0) -> str:
    """``1,234``; no data for NaN and None."""
    return NO_DATA if value is None or math.isnan(value) else f"{value:,.{digits}f}"


def count(value: Any) -> str:
    """A nullable integer as ``1,234``; a dash if nobody counted."""
    return "–" if pd.isna(value) else f"{value:,}"


def percent(value: float) -> str:
    """A fraction as ``47.7``."""
    return NO_DATA if math.isnan(value) else f"{100 * value:.1f}"


def bracket(low: float, high: float) -> str:
    """An interval of fractions as ``[36, 59]``, in percent; ``[–]`` if there is none."""
    return "[–]" if math.isnan(low) or math.isnan(high) else f"[{_whole(low)}, {_whole(high)}]"


def rate(value: float, low: float, high: float) -> str:
    """A rate with its interval: ``47.7 [36, 59]``, in percent."""
    return NO_DATA if math.isnan(value) else f"{percent(value)} {bracket(low, high)}"


def signed(value: float) -> str:
    """A difference of fractions in percentage points: ``−50.8``, ``+3.1``, ``0.0``."""
    if math.isnan(value):
        return NO_DATA
    text = f"{abs(100 * value):.1f}"
    return text if text == "0.0" else f"{'+' if value > 0 else MINUS}{text}"


def difference(value: float, low: float, high: float) -> str:
    """A difference of fractions with its interval, in points: ``−50.8 [−61.0, −38.2]``."""
    if math.isnan(value):
        return NO_DATA
    bounds = "–" if math.isnan(low) or math.isnan(high) else f"{signed(low)}, {signed(high)}"
    return f"{signed(value)} [{bounds}]"


MOST_KEPT = 10.0
"""a share of an undefended run's score; an upper bound above it, near a score of 0, says nothing and is shown as ∞"""


def learned(row: Any) -> tuple[str, str, str]:
    """The untuned model's score, the gain and the share kept of a row of ``learning``; a dash for what is itself."""
    untuned = (percent(row.base), difference(row.gain, row.gain_low, row.gain_high))
    kept = rate(row.kept, row.kept_low, math.inf if row.kept_high > MOST_KEPT else row.kept_high)
    return *(("–", "–") if row.untuned else untuned), "–" if row.undefended else kept


def duration(seconds: float) -> str:
    """``48 s``, ``3 min 20 s``, ``2 h 5 min``."""
    return NO_DATA if math.isnan(seconds) else progress.duration(seconds)


def _whole(fraction: float) -> str:
    return "∞" if math.isinf(fraction) else str(round(100 * fraction)).replace("-", MINUS)


def unchecked(answered_by: Mapping[str, Any]) -> str:
    """What to say of answers of which nobody knows by which weights they were generated."""
    return (
        f"answers NOT CHECKED: nothing shows that {answered_by['who']} answers with this run's weights, and an adapter "
        "that is not applied would not be noticed (docs/evaluation.md, who generates)."
    )
