"""Tell whether a run learns well: its scores on benign tasks, beside the untuned model's and an undefended run's.

A defense that stops the leak and also stops learning is of no use to whoever fine-tunes. What a task could have been
learned to, a run without any defense shows; a run has learned less than that if its score is below
:data:`LEARNED` of that run's. The point decides here, and the interval stands beside it; the gate holds the bound.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ringfence.core.rates import Rate
from ringfence.core.ratios import Ratio
from ringfence.evaluate import benign
from ringfence.report.results import BASELINE, RunResult, baseline_of

LEARNED = 0.95
"""of an undefended run's score; with less, a run has learned less"""
_UNKNOWN = Ratio(math.nan, math.nan, math.nan, 0)


@dataclass(frozen=True)
class Learned:
    """One task of one run, by one metric; what is not known is NaN."""

    task: str
    metric: str
    """what the score is of"""
    is_main: bool
    """whether it is the task's own score, and no further metric of the same answers"""
    rate: Rate
    """the run's score, 0 to 1"""
    base: Rate
    """the untuned model's"""
    gain: Rate
    """the run's less the untuned model's, question by question"""
    kept: Ratio
    """the run's divided by the undefended run's, question by question"""
    reference: str | None
    """the undefended run; None without one"""

    @property
    def less(self) -> bool:
        """Whether the run has learned less than the undefended one, by the task's own score."""
        return self.is_main and self.kept.value < LEARNED


def learned(run: RunResult, undefended: RunResult | None) -> tuple[Learned, ...]:
    """One for each task and metric of ``run``, in their order."""
    rates, of_base, main = benign.rates(run.benign), benign.rates(run.benign_base), benign.main_metrics(run.benign)
    found = []
    for where in run.benign:
        kept = None
        if undefended is not None and undefended is not run:
            kept = benign.ratio(run.benign, undefended.benign, where)
        found.append(
            Learned(
                *where,
                is_main=main[where[0]] == where[1],
                rate=rates[where],
                base=of_base.get(where, Rate()),
                gain=benign.difference(run.benign, run.benign_base, where),
                kept=kept or _UNKNOWN,
                reference=None if undefended is None else undefended.name,
            )
        )
    return tuple(found)


def undefended_of(runs: Sequence[RunResult], baseline: str | None = None) -> RunResult | None:
    """The run without a defense that others are held against; None without one.

    The baseline if it is such a one, else the one called "none", else the first: trained, and with scores on tasks. Of
    weights from elsewhere nobody knows whether they were defended.
    """
    fit = [run for run in runs if run.status == "finished" and run.benign and not (run.defended or run.imported)]
    by_name = {run.name: run for run in fit}
    return by_name.get(baseline_of(runs, baseline).name) or by_name.get(BASELINE) or next(iter(fit), None)
