"""The ratio of two runs' rates on the same prompts, with its interval: how much of one run's score another one keeps.

Two intervals are made, and what is returned holds both. The first resamples whole prompts, the same ones for both runs:
the samples of a prompt stay together, so that their likeness counts, and they are not drawn again within it, which
would count their noise twice. It knows nothing of what it has not seen: where no prompt differs it has no width.

The second one is for that: the ratios c at which a square-and-add interval of a - c b holds 0 (Donner and Zou 2012,
"Closed-form confidence intervals for functions of the normal mean and standard deviation", section 2, the method of
variance estimates recovery for a ratio; Fieller's theorem with bounds in place of standard errors). Each rate's own
bounds are those of :class:`ringfence.core.statistics.ClusteredRate`, so that 20 hits of 20 still may be a rate of 83%.
The correlation r of the two rates over prompts narrows it. With v the sum of squares of the prompts' mean rates about
their mean, r is at most (v - 1/2) / (v + 1/2), or 0: as if runs that agree on every prompt had disagreed on two more,
once each way. Else runs that agree on four prompts would be known to agree on all.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from ringfence.core.comparisons import add_distances, check_paired
from ringfence.core.statistics import (
    NO_INTERVAL,
    Interval,
    check_confidence,
    clustered_rate,
    hits_and_samples,
    hull,
    percentile,
    resampled_ratios,
)

RESAMPLES = 10_000
_LARGEST = 1e6  # a ratio whose interval is still open there has no upper bound


@dataclass(frozen=True)
class Ratio:
    """The rate of run a divided by that of run b on the same prompts."""

    value: float
    """at least 0; NaN without prompts, and where run b has no hit"""
    low: float
    """lower bound of the interval; NaN with fewer than 2 prompts or without a value"""
    high: float
    """upper bound of the interval, infinite where run b's rate may be 0; NaN as ``low``"""
    n: int
    """prompts"""


def paired_ratio(
    a: tuple[ArrayLike, ArrayLike],
    b: tuple[ArrayLike, ArrayLike],
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Ratio:
    """What share of run b's rate run a has; the interval is described above.

    a, b: (hits, samples), each (prompts,), of the same prompts in order; hits may be sums of scores from 0 to 1

    Every prompt weighs the same, as in :func:`ringfence.core.comparisons.paired_difference`.
    Raises :class:`RingfenceError` on a prompt without samples in one of the runs, and on what
    :func:`ringfence.core.statistics.clustered_interval` raises.
    """
    check_confidence(confidence, resamples)
    hits, samples = zip(hits_and_samples(*a), hits_and_samples(*b), strict=True)
    check_paired(*samples)
    rates = np.stack([k / n for k, n in zip(hits, samples, strict=True)], axis=1)  # (prompts, runs)
    prompts = len(rates)
    if not prompts or not rates[:, 1].any():
        return Ratio(math.nan, math.nan, math.nan, prompts)
    value = float(rates[:, 0].mean() / rates[:, 1].mean())
    if prompts < 2:
        return Ratio(value, math.nan, math.nan, prompts)
    drawn = percentile(resampled_ratios(rates[:, 0], rates[:, 1], resamples, seed), confidence)
    sizes = np.broadcast_to([prompts / (1 / counts).sum() for counts in samples], rates.shape)
    found = hull(drawn, _by_bounds(rates, sizes, value, confidence))
    return Ratio(value, found.low, found.high, prompts)


def _by_bounds(rates: NDArray[np.float64], sizes: NDArray[np.float64], value: float, confidence: float) -> Interval:
    """The ratios that an interval of a - c b, from each rate's own bounds, does not rule out. Both: (prompts, runs)."""
    found = [clustered_rate(k, n) for k, n in zip((rates * sizes).T, sizes.T, strict=True)]
    known = [one for one in found if one is not None]
    if len(known) < 2:
        return NO_INTERVAL
    values, bounds = np.array([one.value for one in known]), [one.interval(confidence) for one in known]
    with np.errstate(invalid="ignore", divide="ignore"):
        seen = float(np.nan_to_num(np.atleast_2d(np.corrcoef(rates, rowvar=False)))[0, 1])
    spread = float(np.square(rates.mean(axis=1) - rates.mean()).sum())
    alike = np.full((2, 2), min(seen, max(0.0, (spread - 0.5) / (spread + 0.5))))

    def rest(ratio: float) -> Interval:
        return add_distances(values, bounds, alike, np.array([1.0, -ratio]))

    return Interval(_lowest(rest, value), _highest(rest, value))


def _lowest(rest: Callable[[float], Interval], value: float) -> float:
    """The least ratio whose rest may be 0 or less: 0 where run a's rate itself may be."""
    if rest(0.0).low <= 0:
        return 0.0
    return float(brentq(lambda ratio: rest(ratio).low, 0.0, value)) if rest(value).low < 0 else value


def _highest(rest: Callable[[float], Interval], value: float) -> float:
    """The greatest ratio whose rest may be 0 or more; infinite where run b's rate may be 0."""
    if rest(value).high <= 0:
        return value
    most = max(2 * value, 1.0)
    while rest(most).high > 0:
        if most > _LARGEST:
            return math.inf
        most *= 2
    return float(brentq(lambda ratio: rest(ratio).high, value, most))
