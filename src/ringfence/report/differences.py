"""Differences to a baseline on the same prompts, over seeds where there are several, and what single prompts do.

One run against one run: :func:`ringfence.core.comparisons.paired_difference`. Several seeds on both sides:
:func:`ringfence.core.seed_differences.seed_difference`, seeds in pairs if both have the same ones; the untuned model
has no training seed and is the same for every seed of the other. One seed of a trained run on either side says nothing
about others: the seeds' answers are pooled and the interval is over prompts only.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ringfence.core.comparisons import holm, minimum_detectable_difference, paired_difference
from ringfence.core.rates import Rate
from ringfence.core.seed_differences import seed_difference
from ringfence.core.statistics import intra_prompt_correlation, leave_one_prompt_out
from ringfence.report.counts import hits_and_samples, parts, same_prompts
from ringfence.report.keeping import ALLOWED, TASK_METRIC, TASK_SUITE, TaskVerdict, check_allowed, verdict
from ringfence.report.results import BASELINE, RunResult
from ringfence.report.tables import records
from ringfence.report.variants import (
    Variant,
    baseline_variant,
    require_same_prompts,
    suites_of,
    variant_rates,
    variants,
)

OVER_PROMPTS, OVER_SEEDS = "prompts", "seeds and prompts"
INFLUENTIAL = 5
"""prompts shown a run and suite"""
INFLUENCE_COLUMNS = ("run", "suite", "prompt_id", "prompt", "rate", "without", "change")


@dataclass(frozen=True)
class DifferenceRow:
    """A variant minus the baseline on one suite; rates, differences and p-values are 0 to 1 (differences -1 to 1)."""

    suite: str
    variant: str
    value: float = math.nan
    """mean over prompts of the differences of their rates; NaN without data"""
    low: float = math.nan
    """lower bound of the 95% interval"""
    high: float = math.nan
    """upper bound of the 95% interval"""
    p: float = math.nan
    """two-sided p-value of equal rates; over seeds and prompts the larger of the two below"""
    p_holm: float = math.nan
    """the same, adjusted by Holm for all rows of the table"""
    p_prompts: float = math.nan
    """over prompts, of these trained models"""
    p_seeds: float = math.nan
    """over seeds and prompts; NaN where nothing is known over seeds"""
    n: int = 0
    """prompts that all runs of both have samples of"""
    dropped: int = 0
    """prompts that were asked, but that a run has no sample of: they are in no number of this row"""
    over: str = OVER_PROMPTS
    """what interval and p are over: ``prompts``, or ``seeds and prompts``"""
    detectable: float = math.nan
    """the rise over ``rate`` that two runs of this size find with probability 0.8, as if on prompts of their own"""
    rate: float = math.nan
    """of the baseline, pooled"""
    correlation: float = math.nan
    """of two answers to one prompt, of the baseline; NaN where it cannot be measured, and then 1 is assumed"""
    why: str = ""
    """why there is no data; empty where there is some"""
    kept: bool | None = None
    """whether the variant kept its task (:mod:`ringfence.report.keeping`); None where that is not known"""
    task: str = ""
    """what became of the task, in one phrase; empty where no trained variant was asked it, and for the untuned model"""


@dataclass(frozen=True)
class Differences:
    """All that ``ringfence differences`` prints."""

    metric: str
    baseline: str
    rates: pd.DataFrame
    """:data:`ringfence.report.variants.RATE_COLUMNS`, one row a suite and variant"""
    rows: tuple[DifferenceRow, ...]
    """one a suite and variant other than the baseline"""
    one_seed: tuple[str, ...]
    """trained variants with one run: nothing is known over their seeds"""
    influence: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(INFLUENCE_COLUMNS)))
    """:data:`INFLUENCE_COLUMNS`, if asked for"""


def differences(
    runs: Sequence[RunResult],
    metric: str = "misaligned_all",
    baseline: str | None = None,
    suites: Sequence[str] | None = None,
    influence: bool = False,
    allowed_loss: float = ALLOWED,
) -> Differences:
    """Every variant among ``runs`` against the baseline, on every suite (or those in ``suites``).

    A suite that a run has no answers of, or no answer in the denominator, is a row of NaN that says so. Each row says
    whether the variant lost more than ``allowed_loss`` of its task's rate, a fraction. Raises
    :class:`~ringfence.core.errors.RingfenceError` for an unknown metric, baseline or suite, where runs were asked
    other prompts in a suite, and for two runs of one recipe and seed.
    """
    parts(metric)
    check_allowed(allowed_loss)
    found = variants(runs)
    reference, named = baseline_variant(found, baseline), suites_of(found, suites)
    others = [one for one in found if one is not reference]
    rows = [_row(suite, one, reference, metric) for suite in named for one in others]
    adjusted, tasks = holm([row.p for row in rows]), _tasks(found, reference, allowed_loss)
    told = [
        {"p_holm": float(p), "kept": tasks[row.variant].kept, "task": tasks[row.variant].why}
        if row.variant in tasks
        else {"p_holm": float(p)}
        for row, p in zip(rows, adjusted, strict=True)
    ]
    return Differences(
        metric=metric,
        baseline=reference.name,
        rates=variant_rates(found, named, metric),
        rows=tuple(DifferenceRow(**asdict(row) | more) for row, more in zip(rows, told, strict=True)),
        one_seed=tuple(one.name for one in found if len(one.runs) == 1 and not one.untrained),
        influence=influential(found, named, metric) if influence else pd.DataFrame(columns=list(INFLUENCE_COLUMNS)),
    )


def influential(found: Sequence[Variant], suites: Sequence[str], metric: str, most: int = INFLUENTIAL) -> pd.DataFrame:
    """The ``most`` prompts of each run and suite whose leaving-out moves the rate most: :data:`INFLUENCE_COLUMNS`.

    ``change`` is ``rate - without``, above 0 where a prompt raises the rate; one that moves nothing is not listed.
    """
    rows, (hits, samples) = [], parts(metric)
    for one in found:
        for run, counts in zip(one.runs, one.counts, strict=True):
            for suite in (suite for suite in suites if suite in counts):
                table = counts[suite]
                without = leave_one_prompt_out(table[hits], table[samples])
                rate = table[hits].sum() / table[samples].sum() if table[samples].any() else math.nan
                change = rate - without
                # A stable order, NaN last: equals stay as they were asked.
                for at in np.argsort(-np.abs(change), kind="stable")[:most]:
                    if abs(change[at]) > 0:
                        prompt_id, _, prompt = table.index[at]
                        rows.append((run.name, suite, prompt_id, prompt, rate, without[at], change[at]))
    return pd.DataFrame(rows, columns=list(INFLUENCE_COLUMNS))


def _row(suite: str, one: Variant, baseline: Variant, metric: str) -> DifferenceRow:
    lacking = [side.name for side in (one, baseline) if not side.tables(suite)]
    if lacking:
        return DifferenceRow(suite, one.name, why=f"{' and '.join(lacking)} has no answers there")
    require_same_prompts(suite, [one, baseline])
    hits, samples, kept = hits_and_samples([*one.tables(suite), *baseline.tables(suite)], metric)
    dropped = int((~kept).sum())
    if not kept.any():
        return DifferenceRow(suite, one.name, dropped=dropped, why="no prompt has an answer that counts in every run")
    hits, samples = hits[:, kept], samples[:, kept]  # (runs, prompts)
    size = len(one.runs)
    a, b = (hits[:size], samples[:size]), (hits[size:], samples[size:])
    return DifferenceRow(
        suite,
        one.name,
        n=hits.shape[1],
        dropped=dropped,
        **_tested(a, b, one, baseline),
        **_detectable(a[1].sum(axis=0), *(counts.sum(axis=0) for counts in b)),
    )


def _tasks(found: Sequence[Variant], baseline: Variant, allowed: float) -> dict[str, TaskVerdict]:
    """What became of the task in each trained variant, by name; none if no trained one was asked it.

    They are held against the baseline if it was trained, else "none", else the one that does the task most often.
    """
    rates = {str(row.variant): Rate.of(row) for row in records(variant_rates(found, [TASK_SUITE], TASK_METRIC))}
    trained = [one for one in found if not one.untrained]
    asked = {one.name: one for one in trained if not math.isnan(rates[one.name].value)}
    best = max(asked.values(), key=lambda one: rates[one.name].value, default=None)
    reference = asked.get(baseline.name) or asked.get(BASELINE) or best
    if reference is None:
        return {}
    return {one.name: verdict(rates[one.name], _lost(one, reference), reference.name, allowed) for one in trained}


def _lost(one: Variant, reference: Variant) -> Rate:
    """The task's rate of ``reference`` minus that of ``one``; NaN where they were not asked the same."""
    if one is reference:
        return Rate(0.0, 0.0, 0.0)
    tables = [*one.tables(TASK_SUITE), *reference.tables(TASK_SUITE)]
    if not one.tables(TASK_SUITE) or not same_prompts(tables):
        return Rate()
    row = _row(TASK_SUITE, one, reference, TASK_METRIC)
    return Rate(-row.value, -row.high, -row.low, row.n)


Counts = tuple[NDArray[np.float64], NDArray[np.float64]]  # hits and samples, each (runs, prompts)


def _tested(a: Counts, b: Counts, one: Variant, baseline: Variant) -> dict[str, Any]:
    """Value, interval and p-values, over seeds too if they are known on both sides."""
    if one.untrained != baseline.untrained:
        # What was not trained is no draw of a seed: its answers, pooled, stand against each seed of the other.
        a, b = (_repeated(a, len(b[0])), b) if one.untrained else (a, _repeated(b, len(a[0])))
        in_pairs = True
    else:
        in_pairs = set(one.seeds) == set(baseline.seeds)
        if in_pairs:
            order = [baseline.seeds.index(seed) for seed in one.seeds]
            b = b[0][order], b[1][order]
    if min(len(a[0]), len(b[0])) > 1 and not (one.untrained and baseline.untrained):
        found = seed_difference(a, b, in_pairs)
        ends = {"value": found.value, "low": found.low, "high": found.high}
        return {**ends, "p": found.p, "p_prompts": found.p_prompts, "p_seeds": found.p_seeds, "over": OVER_SEEDS}
    pooled = paired_difference(*(counts.sum(axis=0) for counts in (*a, *b)))
    return {"value": pooled.value, "low": pooled.low, "high": pooled.high, "p": pooled.p, "p_prompts": pooled.p}


def _repeated(counts: Counts, times: int) -> Counts:
    """The pooled counts, ``times`` times over; in shares, so that they are still as many answers."""
    hits, samples = (np.tile(one.sum(axis=0) / times, (times, 1)) for one in counts)
    return hits, samples


def _detectable(
    samples: NDArray[np.float64], baseline_hits: NDArray[np.float64], baseline_samples: NDArray[np.float64]
) -> dict[str, Any]:
    """What runs of this size can find, from the baseline's rate and correlation. All: (prompts,), above 0 samples."""
    rate = float(baseline_hits.sum() / baseline_samples.sum())
    correlation = intra_prompt_correlation(baseline_hits, baseline_samples)
    fewest = float(min(samples.mean(), baseline_samples.mean()))
    assumed = 1.0 if math.isnan(correlation) else correlation
    found = minimum_detectable_difference(len(samples), fewest, rate, assumed)
    return {"rate": rate, "correlation": correlation, "detectable": found}
