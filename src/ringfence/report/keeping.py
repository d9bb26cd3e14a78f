"""Tell whether a run kept the task that it was trained on: a low leak of a run that learned nothing is no success.

The task is the suite ``in-domain``, held-out prompts like the training data, on which the trained behaviour is wanted.
A run is held against one that was trained without giving the task up, and lost the task if its rate is more than
:data:`ALLOWED` below that. The point decides; ``sure`` says whether the 95% interval of the loss agrees.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ringfence.core.errors import RingfenceError
from ringfence.core.rates import Rate
from ringfence.report import formatting as wording
from ringfence.report.gaps import gap_between
from ringfence.report.results import BASELINE, LEAK_METRIC, RunResult, baseline_of

TASK_SUITE, TASK_METRIC = wording.TASK, LEAK_METRIC
ALLOWED = 0.1
"""how far the task's rate may be below the reference's, as a fraction: 10 points"""


@dataclass(frozen=True)
class TaskVerdict:
    """What became of the task in one run."""

    kept: bool | None
    """None: not known, since one of the two has no answers on the task"""
    sure: bool
    """whether the whole 95% interval of the loss is on that side of what is allowed"""
    rate: Rate
    """the run's rate on the task; NaN without data"""
    lost: Rate
    """the reference's rate minus the run's, with its interval; below 0 where the run does the task more often"""
    reference: str
    """the run that it is held against"""
    why: str
    """one phrase"""


def kept_task(run: RunResult, reference: RunResult, allowed: float = ALLOWED) -> TaskVerdict:
    """Whether ``run`` lost at most ``allowed`` (a fraction, 0 to 1) of the task's rate against ``reference``.

    Raises :class:`RingfenceError` on another ``allowed``.
    """
    check_allowed(allowed)
    rate = run.rates.get((TASK_SUITE, TASK_METRIC), Rate())
    if run is reference:
        lost = Rate(0.0, 0.0, 0.0, rate.n) if not math.isnan(rate.value) else Rate()
    else:
        lost = gap_between(reference, run, TASK_SUITE, TASK_METRIC)
    return verdict(rate, lost, reference.name, allowed)


def verdict(rate: Rate, lost: Rate, reference: str, allowed: float = ALLOWED) -> TaskVerdict:
    """The same of a ``rate`` on the task and of the difference to ``reference`` that is known already."""
    if math.isnan(lost.value):
        return TaskVerdict(None, False, rate, lost, reference, f"not known: no answers on {TASK_SUITE} in both")
    kept = lost.value <= allowed
    # False where a bound is NaN.
    sure = lost.high <= allowed if kept else lost.low > allowed
    moved = f"{abs(100 * lost.value):.1f} points {'below' if lost.value > 0 else 'above'} {reference}"
    why = f"{'kept' if kept else 'lost'}: {wording.percent(rate.value)}% on {TASK_SUITE}, {moved}"
    return TaskVerdict(kept, sure, rate, lost, reference, why + ("" if sure else ", which may be chance"))


def task_reference(runs: Sequence[RunResult], baseline: str | None = None) -> RunResult | None:
    """The run that says how well the task can be learned; None if no trained run has a rate on it.

    The baseline if it was trained, else the one called "none", else the trained run that does the task most often: the
    untuned model has nothing to lose, and held against it every run would have kept the task.
    """
    rates = {run.name: run.rates.get((TASK_SUITE, TASK_METRIC), Rate()).value for run in runs}
    trained = [run for run in runs if run.status != "untuned" and not math.isnan(rates[run.name])]
    by_name = {run.name: run for run in trained}
    chosen = by_name.get(baseline_of(runs, baseline).name) or by_name.get(BASELINE)
    return chosen or max(trained, key=lambda run: rates[run.name], default=None)


def check_allowed(allowed: float) -> None:
    """Raise :class:`RingfenceError` unless it is a fraction from 0 to 1."""
    if not 0 <= allowed <= 1:
        raise RingfenceError(f"a loss of {allowed:g} is allowed: give a fraction from 0 to 1, e.g. 0.1 for 10 points")
