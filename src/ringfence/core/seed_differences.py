"""Compare two variants over several training seeds each, on the same prompts, with an interval for new seeds."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from ringfence.core.comparisons import add_distances, p_value, paired_difference
from ringfence.core.errors import RingfenceError
from ringfence.core.seeds import mean_interval, parts, variance, variance_of_difference
from ringfence.core.statistics import Interval, clustered_rate, hits_and_samples, hull


@dataclass(frozen=True)
class SeedDifference:
    """The mean rate of variant a's seeds minus that of variant b's, on the same prompts."""

    value: float
    """mean over prompts and seeds, -1 to 1; NaN without prompts"""
    low: float
    """lower bound of the interval over seeds and prompts; NaN with fewer than 2 prompts"""
    high: float
    """upper bound of the interval over seeds and prompts; NaN with fewer than 2 prompts"""
    p_prompts: float
    """two-sided p-value over prompts, of these trained models, 0 to 1; NaN with fewer than 2 prompts"""
    p_seeds: float
    """two-sided p-value over seeds and prompts, 0 to 1; NaN with fewer than 2 prompts"""
    n: int
    """prompts"""

    @property
    def p(self) -> float:
        """The larger of the two: small only if neither the choice of prompts nor that of seeds can explain it."""
        return max(self.p_prompts, self.p_seeds)


def seed_difference(
    a: tuple[ArrayLike, ArrayLike],
    b: tuple[ArrayLike, ArrayLike],
    paired: bool = False,
    confidence: float = 0.95,
) -> SeedDifference:
    """How much higher a's rate is than b's, both over at least 2 seeds.

    a, b:   (hits, samples), each (seeds, prompts): counts of the same prompts in order
    paired: whether the i-th seed of ``a`` and the i-th of ``b`` are the same

    With r_si the rate of seed s on prompt i, the value is mean_i (mean_s r^a_si - mean_s r^b_si): seeds and prompts all
    weigh the same. The interval is square-and-add of the two variants' intervals over seeds and prompts
    (:mod:`ringfence.core.seeds`), correlated as far as they share prompts and, ``paired``, seeds; together with
    value -+ t sqrt(V) of :func:`ringfence.core.seeds.variance_of_difference`, in which few seeds have few degrees of
    freedom, and with :func:`ringfence.core.comparisons.paired_difference` of the means over seeds. ``p_prompts`` is the
    least 1 - confidence at which the last one leaves out 0, ``p_seeds`` that of the first two.

    Raises :class:`RingfenceError` with fewer than 2 seeds, for pairs of unequal number, for a prompt without samples
    in one of the seeds, and on what :func:`~ringfence.core.statistics.clustered_interval` raises.
    """
    (rates_a, sizes_a), (rates_b, sizes_b) = _rates("a", *a), _rates("b", *b)
    if rates_a.shape[1] != rates_b.shape[1]:
        raise RingfenceError(
            f"variant a has {rates_a.shape[1]} prompts and variant b {rates_b.shape[1]}; give the same of both"
        )
    if paired and len(rates_a) != len(rates_b):
        raise RingfenceError(f"variant a has {len(rates_a)} seeds and variant b {len(rates_b)}: they are no pairs")
    means_a, means_b = rates_a.mean(axis=0), rates_b.mean(axis=0)  # (prompts,)
    over_prompts = paired_difference(means_a * sizes_a, sizes_a, means_b * sizes_b, sizes_b, confidence)
    value, n = over_prompts.value, over_prompts.n
    if n < 2:
        return SeedDifference(value, math.nan, math.nan, math.nan, math.nan, n)
    of_a, of_b = _interval(rates_a, sizes_a), _interval(rates_b, sizes_b)
    means, signs = np.array([rates_a.mean(), rates_b.mean()]), np.array([1.0, -1.0])
    alike = np.full((2, 2), _correlation(rates_a, rates_b, paired))

    of_value = variance_of_difference(rates_a, rates_b, paired)

    def interval(level: float) -> Interval:
        half = float(stdtrit(of_value.degrees_of_freedom, (1 + level) / 2)) * math.sqrt(of_value.value)
        around = Interval(max(-1.0, value - half), min(1.0, value + half))
        return hull(add_distances(means, [of_a(level), of_b(level)], alike, signs), around)

    found = hull(interval(confidence), Interval(over_prompts.low, over_prompts.high))
    return SeedDifference(value, found.low, found.high, over_prompts.p, p_value(interval), n)


def _interval(rates: NDArray[np.float64], sizes: NDArray[np.float64]) -> Callable[[float], Interval]:
    """Of the mean of ``rates``, (seeds, prompts), by confidence; ``sizes``: (prompts,) the samples of all seeds."""
    size = sizes.size / (1 / sizes).sum()
    of_all = clustered_rate(rates.mean(axis=0) * size, np.full(sizes.size, size))
    mean, of_mean = float(rates.mean()), variance(rates)

    def interval(level: float) -> Interval:
        of_seeds = mean_interval(mean, of_mean, level)
        return hull(of_all.interval(level), of_seeds) if of_all else of_seeds

    return interval


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64], paired: bool) -> float:
    """Of the two means: what they share by prompts and, if ``paired``, by seeds; 0 where one does not vary."""
    if paired:
        over_seeds, over_prompts, rest = parts(a, b)
        shared = over_seeds + over_prompts - rest
    else:
        shared = float(np.cov(a.mean(axis=0), b.mean(axis=0))[0, 1]) / a.shape[1]
    spread = math.sqrt(variance(a).value * variance(b).value)
    return min(1.0, max(-1.0, shared / spread)) if spread > 0 else 0.0


def _rates(which: str, hits: ArrayLike, samples: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(seeds, prompts) the rates, and (prompts,) how many samples all seeds have."""
    found, asked = hits_and_samples(hits, samples, axes=2)
    if len(found) < 2:
        raise RingfenceError(f"variant {which} has {len(found)} seeds: nothing is known over seeds; give at least 2")
    missing = int((asked == 0).any(axis=0).sum())
    if missing:
        raise RingfenceError(
            f"{missing} of {asked.shape[1]} prompts have no samples in a seed of variant {which}; leave them out of all"
        )
    return found / asked, asked.sum(axis=0)
