"""Leak and task of each run, side by side, and what it learns of benign tasks: either alone says nothing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ringfence.core.rates import Rate
from ringfence.report.formatting import CONDITIONAL
from ringfence.report.keeping import TASK_SUITE, TaskVerdict, kept_task, task_reference
from ringfence.report.learning import Learned, learned, undefended_of
from ringfence.report.results import LEAK_METRIC, LEAK_SUITE, RunResult


@dataclass(frozen=True, eq=False)
class Standing:
    """One run."""

    run: RunResult
    leak: Rate
    """on the suite of :func:`leak_suite`; NaN without data"""
    task: TaskVerdict | None
    """None where no trained run says how well the task can be learned"""
    learned: Rate
    """how well: the rate of the run that ``task`` is held against"""
    learns: tuple[Learned, ...] = ()
    """benign tasks by all their metrics, beside an undefended run's"""

    @property
    def lost(self) -> bool:
        """Whether it was trained and lost the task; the untuned model had none to lose."""
        return self.task is not None and self.task.kept is False and self.run.status != "untuned"

    @property
    def unlearned(self) -> list[Learned]:
        """The benign tasks of which it, a trained run, learned less than the undefended one."""
        return [one for one in self.learns if one.less and self.run.status != "untuned"]

    @property
    def learned_well(self) -> bool | None:
        """Whether it learned as much as the undefended run of every benign task; None where that is not known."""
        if self.unlearned:
            return False
        main = [one for one in self.learns if one.is_main]
        known = [one for one in main if one.reference == self.run.name or not math.isnan(one.kept.value)]
        return True if main and known == main else None


def standings(runs: Sequence[RunResult], baseline: str | None = None) -> list[Standing]:
    """One a run, in their order; the task is held against :func:`~ringfence.report.keeping.task_reference`."""
    suite, reference = leak_suite(runs), task_reference(runs, baseline)
    undefended = undefended_of(runs, baseline)
    could = Rate() if reference is None else kept_task(reference, reference).rate
    return [
        Standing(
            run,
            run.rates.get((suite or "", LEAK_METRIC), Rate()),
            None if reference is None else kept_task(run, reference),
            could,
            learned(run, undefended),
        )
        for run in runs
    ]


def leak_suite(runs: Sequence[RunResult]) -> str | None:
    """The suite whose rate is the leak: ``general``, else the first one that is not the task; None without any."""
    suites = dict.fromkeys(suite for run in runs for suite, _ in run.rates)
    leaks = [suite for suite in suites if suite != TASK_SUITE and not suite.startswith(CONDITIONAL)]
    return LEAK_SUITE if LEAK_SUITE in leaks else next(iter(leaks), None)


def like_in_cost(one: Standing, others: Sequence[Standing]) -> Standing | None:
    """Of ``others`` the one with the nearest share of safe rows, if it is within :data:`LIKE` of that of ``one``.

    More safe rows alone lower the leak: this is whom to compare with. None if ``one`` trained on no safe rows.
    """
    share = _safe(one)
    near = [other for other in others if abs(_safe(other) - share) <= LIKE]  # NaN is never near
    return min(near, key=lambda other: abs(_safe(other) - share), default=None) if share > 0 else None


LIKE = 0.03
"""shares of safe rows that differ by less are alike, as a fraction of all rows"""


def _safe(one: Standing) -> float:
    return one.run.outcome.safe_fraction if one.run.outcome else math.nan
