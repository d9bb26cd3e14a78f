"""The ratio of two runs' rates on the same prompts, with its interval: how much of one run's score another one keeps.

Two intervals are made, and what is returned holds both. The first resamples whole prompts, the same ones for both runs:
the samples of a prompt stay together, so that their likeness counts, and they are not drawn again within it, which
would count their noise twice. It knows nothing of what it has not seen: where no prompt differs it has no width.

The second one is for that: the ratios c at which a square-and-add interval of a - c b holds 0 (Donner and Zou 2012,
"Closed-form confidence intervals for functions of the normal mean and standard deviation", section 2, the method of
variance estimates recovery for a ratio; Fieller's theorem with bounds in place of standard errors). Each rate's own
bounds are those of :class:`ringfence.core.statistics.ClusteredRate`, so that 20 hits of 20 still may be a rate of 83%.
The correlation r of the two rates over prompts narrows it. With v the sum of squares of the prompts' mean rates about
their mean, and w what the answers to one prompt are worth (1 where they are all the same), r is at most
(v - u) / (v + u) with u = 1 / 2 w^2, or 0: as if runs that agree on every prompt had disagreed in one answer's worth on
two more, once each way. Else runs that agree on four prompts would be known to agree on all.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from ringfence.core.comparisons import add_distances, check_paired
from ringfence.core.rates import Rate
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


Run = tuple[ArrayLike, ArrayLike]
"""(hits, samples), each (prompts,); hits may be sums of scores from 0 to 1"""


def paired_ratio(a: Run, b: Run, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0) -> Ratio:
    """What share of run b's rate run a has, on the same prompts in order; the interval is described above.

    Every prompt weighs the same, as in :func:`ringfence.core.comparisons.paired_difference`.
    Raises :class:`RingfenceError` on a prompt without samples in one of the runs, and on what
    :func:`ringfence.core.statistics.clustered_interval` raises.
    """
    check_confidence(confidence, resamples)
    rates, sizes = _rates(a, b)
    prompts = len(rates)
    if not prompts or not rates[:, 1].any():
        return Ratio(math.nan, math.nan, math.nan, prompts)
    value = float(rates[:, 0].mean() / rates[:, 1].mean())
    if prompts < 2:
        return Ratio(value, math.nan, math.nan, prompts)
    drawn = percentile(resampled_ratios(rates[:, 0], rates[:, 1], resamples, seed), confidence)
    rest = _rest(rates, sizes, confidence)
    found = hull(drawn, Interval(_lowest(rest, value), _highest(rest, value)))
    return Ratio(value, found.low, found.high, prompts)


def paired_gain(a: Run, b: Run, confidence: float = 0.95) -> Rate:
    """The rate of run a minus that of run b on the same prompts in order: a - c b of above with c = 1.

    It is :func:`ringfence.core.comparisons.paired_difference` with the correlation bounded, for runs that may agree on
    all prompts. ``n`` is the number of prompts. Raises as :func:`paired_ratio`.
    """
    check_confidence(confidence)
    rates, sizes = _rates(a, b)
    if not len(rates):
        return Rate(n=0)
    value = float(rates[:, 0].mean() - rates[:, 1].mean())
    found = _rest(rates, sizes, confidence)(1.0) if len(rates) > 1 else NO_INTERVAL
    return Rate(value, found.low, found.high, len(rates))


def _rates(a: Run, b: Run) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(prompts, runs) rates, and samples as if all prompts of a run had the harmonic mean of its samples."""
    hits, samples = zip(hits_and_samples(*a), hits_and_samples(*b), strict=True)
    check_paired(*samples)
    rates = np.stack([k / n for k, n in zip(hits, samples, strict=True)], axis=1)
    sizes = [len(rates) / (1 / counts).sum() if len(rates) else 0.0 for counts in samples]
    return rates, np.broadcast_to(sizes, rates.shape)


def _rest(rates: NDArray[np.float64], sizes: NDArray[np.float64], confidence: float) -> Callable[[float], Interval]:
    """The interval of a - c b from each rate's own bounds, as a function of c; with 2 prompts or more."""
    found = [clustered_rate(k, n) for k, n in zip((rates * sizes).T, sizes.T, strict=True)]
    known = [one for one in found if one is not None]
    values, bounds = np.array([one.value for one in known]), [one.interval(confidence) for one in known]
    with np.errstate(invalid="ignore", divide="ignore"):
        seen = float(np.nan_to_num(np.atleast_2d(np.corrcoef(rates, rowvar=False)))[0, 1])
    spread = float(np.square(rates.mean(axis=1) - rates.mean()).sum())
    unseen = 0.5 / np.mean([one.effective / one.prompts for one in known]) ** 2
    alike = np.full((2, 2), min(seen, max(0.0, float((spread - unseen) / (spread + unseen)))))
    return lambda ratio: add_distances(values, bounds, alike, np.array([1.0, -ratio]))


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
