"""Intervals for rates of samples that are clustered by prompt, and the influence of single prompts on a rate.

Samples of one prompt resemble each other, so an interval counts what they are worth: at most the samples, at least the
prompts. Throughout, numerators are hits and denominators samples, one count a prompt; a rate is their ratio, 0 to 1.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import betaincinv, ndtri, stdtrit

from ringfence.core.errors import RingfenceError

_DRAWN_AT_ONCE = 1 << 20  # prompt indices held in memory


@dataclass(frozen=True)
class Interval:
    """A confidence interval; both bounds are NaN where the data do not allow one."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """``high - low``; NaN if there is no interval."""
        return self.high - self.low


NO_INTERVAL = Interval(math.nan, math.nan)


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson score interval of ``successes`` out of ``n`` independent trials; NaN for ``n`` = 0.

    With p = successes / n and z the normal quantile of (1 + confidence) / 2:
    (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).
    Raises :class:`RingfenceError` unless 0 <= successes <= n and 0 < confidence < 1.
    """
    check_confidence(confidence)
    if not 0 <= successes <= n:
        raise RingfenceError(f"{successes} successes of {n}: it must be at least 0 and at most all")
    return _score_interval(int(successes) / int(n), int(n), confidence) if n else NO_INTERVAL


def exact_interval(rate: float, n: float, confidence: float = 0.95) -> Interval:
    """Clopper and Pearson's interval of ``rate`` among ``n`` independent samples; NaN for ``n`` = 0.

    ``rate * n`` and ``n`` need not be whole: with x = rate n, a = 1 - confidence and B(q; x, y) the quantiles of the
    Beta distribution, B(a/2; x, n - x + 1) to B(1 - a/2; x + 1, n - x). It never covers less than it says.
    Raises :class:`RingfenceError` unless 0 <= rate <= 1, n >= 0 and 0 < confidence < 1.
    """
    check_confidence(confidence)
    if not (0 <= rate <= 1 and n >= 0):
        raise RingfenceError(f"a rate of {rate} among {n}: the rate must be from 0 to 1, the number at least 0")
    if n == 0:
        return NO_INTERVAL
    x, tail = rate * n, (1 - confidence) / 2
    return Interval(
        float(betaincinv(x, n - x + 1, tail)) if rate > 0 else 0.0,
        float(betaincinv(x + 1, n - x, 1 - tail)) if rate < 1 else 1.0,
    )


def clustered_interval(numerators: ArrayLike, denominators: ArrayLike, confidence: float = 0.95) -> Interval:
    """The interval of the pooled rate of prompts, by :class:`ClusteredRate`.

    NaN with fewer than 2 prompts that have samples. Raises :class:`RingfenceError` on arrays of different shapes, on
    counts that are negative or not finite, on more hits than samples, and on a confidence outside (0, 1).
    """
    check_confidence(confidence)
    found = clustered_rate(numerators, denominators)
    return found.interval(confidence) if found else NO_INTERVAL


@dataclass(frozen=True)
class ClusteredRate:
    """A pooled rate and what its samples are worth (after Korn and Graubard 1998).

    With m_i samples of prompt i, n in all, and ICC the :func:`intra_prompt_correlation`, but at least
    1 / (1 + min(hits, misses)), as if one more hit had shown that hits come by whole prompts:

        design effect = 1 + (sum m_i^2 / n - 1) ICC
        effective     = n / design effect x (z / t)^2, at most n, at least n^2 / sum m_i^2

    z is the normal quantile of (1 + confidence) / 2 and t that of Student's distribution, since the design effect is
    estimated; its degrees of freedom are those of :func:`degrees_of_freedom`. The least is what an ICC of 1 leaves,
    the number of prompts where all have as many samples: nothing between 0 and 1 spreads more than all or nothing.
    The interval is exact for so many samples.
    """

    value: float
    samples: float
    """n"""
    prompts: float
    """n^2 / sum m_i^2"""
    effective: float
    """n / design effect"""
    degrees_of_freedom: float

    def interval(self, confidence: float) -> Interval:
        """Around the rate; it shrinks with ``confidence``."""
        level = (1 + confidence) / 2
        shrunk = self.effective * float(ndtri(level) / stdtrit(self.degrees_of_freedom, level)) ** 2
        return exact_interval(self.value, min(self.samples, max(self.prompts, shrunk)), confidence)


def clustered_rate(numerators: ArrayLike, denominators: ArrayLike) -> ClusteredRate | None:
    """The pooled rate of prompts; None with fewer than 2 that have samples. Raises as :func:`clustered_interval`."""
    hits, samples = _with_samples(*hits_and_samples(numerators, denominators))
    if samples.size < 2:
        return None
    n, found = float(samples.sum()), float(hits.sum())
    prompts = n * n / float(np.square(samples).sum())
    icc = float(np.nanmax([intra_prompt_correlation(hits, samples), 1 / (1 + min(found, n - found))]))
    worth = n / (1 + (n / prompts - 1) * icc)
    return ClusteredRate(found / n, n, prompts, worth, degrees_of_freedom(hits - found / n * samples))


def degrees_of_freedom(deviations: NDArray[np.float64]) -> float:
    """What the variance of ``deviations`` from their mean is worth: 2 / (2 / (k - 1) + max(0, G) / k), k their number.

    G is the unbiased excess kurtosis; for normal deviations it is 0, and k - 1 are left. A variance that one outlier
    makes is hardly known: few prompts with many hits are what makes intervals too narrow. Needs at least 2.
    """
    k, squares = deviations.size, np.square(deviations)
    if k < 4 or not squares.any():
        return k - 1.0
    excess = np.square(squares).mean() / squares.mean() ** 2 - 3
    unbiased = (k - 1) / ((k - 2) * (k - 3)) * ((k + 1) * excess + 6)
    return float(2 / (2 / (k - 1) + max(0.0, unbiased) / k))


def prompts_needed(rate: float, bound: float, prompts: int, limit: float, confidence: float = 0.95) -> float:
    """About how many prompts move the ``bound`` of the interval around ``rate`` to ``limit``, if the rate stays.

    prompts: how many there are now; their samples' worth, and with it the design, is read from ``bound``.
    Whole, or infinite where ``limit`` is not beyond ``rate`` as seen from ``bound``, or no number is large enough.
    """
    if not (rate < limit <= bound or bound <= limit < rate):
        return math.inf
    now, wanted = (_samples_for(rate, end, confidence) for end in (bound, limit))
    return math.ceil(prompts * wanted / now - 1e-6)


def prompts_without_exception(limit: float, confidence: float = 0.95) -> float:
    """How many prompts without a hit show that a rate is at most ``limit``; infinite for 0.

    The least n with 1 - ((1 - confidence) / 2)^(1/n) <= limit. By symmetry 1 - limit asks for a rate of at least
    ``limit`` by prompts without a miss.
    """
    if limit <= 0:
        return math.inf
    return 1 if limit >= 1 else math.ceil(math.log((1 - confidence) / 2) / math.log1p(-limit) - 1e-9)


def intra_prompt_correlation(numerators: ArrayLike, denominators: ArrayLike) -> float:
    """ICC: how alike two samples of one prompt are, 0 (not at all) to 1 (always the same); the ANOVA estimate.

    (MSB - MSW) / (MSB + (m0 - 1) MSW), negative ones 0, with for k prompts of m_i samples, n in all, rate p_i and
    pooled rate p: MSB = sum m_i (p_i - p)^2 / (k - 1), MSW = sum m_i p_i (1 - p_i) / (n - k),
    m0 = (n - sum m_i^2 / n) / (k - 1). NaN with fewer than 2 prompts, without a second sample of any, and where all
    samples are hits or none is: such data do not say how hits come. Raises like :func:`clustered_interval`.
    """
    hits, samples = _with_samples(*hits_and_samples(numerators, denominators))
    k, n, found = samples.size, samples.sum(), hits.sum()
    if k < 2 or n <= k or found in (0, n):
        return math.nan
    rates, rate = hits / samples, found / n
    between = (samples * (rates - rate) ** 2).sum() / (k - 1)
    within = (samples * rates * (1 - rates)).sum() / (n - k)
    size = (n - np.square(samples).sum() / n) / (k - 1)
    return float(max(0.0, (between - within) / (between + (size - 1) * within)))


def leave_one_prompt_out(numerators: ArrayLike, denominators: ArrayLike) -> NDArray[np.float64]:
    """(prompts,) the pooled rate without each prompt; NaN where no samples are left. Raises as others do."""
    hits, samples = hits_and_samples(numerators, denominators)
    left = samples.sum() - samples
    return np.divide(hits.sum() - hits, left, out=np.full(left.shape, np.nan), where=left > 0)


def influence(numerators: ArrayLike, denominators: ArrayLike) -> NDArray[np.float64]:
    """(prompts,) the pooled rate minus the rate without each prompt: above 0 where a prompt raises the rate."""
    hits, samples = hits_and_samples(numerators, denominators)
    rate = hits.sum() / samples.sum() if samples.any() else math.nan
    return rate - leave_one_prompt_out(hits, samples)


def hull(a: Interval, b: Interval) -> Interval:
    """The least interval that holds both; one without bounds adds nothing."""
    if math.isnan(a.width) or math.isnan(b.width):
        return b if math.isnan(a.width) else a
    return Interval(min(a.low, b.low), max(a.high, b.high))


def percentile(values: NDArray[np.float64], confidence: float) -> Interval:
    """The middle ``confidence`` of resampled ``values``, of any number; no interval without any."""
    if not values.size:
        return NO_INTERVAL
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def resampled_ratios(
    numerators: NDArray[np.float64], denominators: NDArray[np.float64], resamples: int, seed: int
) -> NDArray[np.float64]:
    """sum(numerators) / sum(denominators) of ``resamples`` draws of whole prompts with replacement.

    Both arrays: (prompts,), not empty; ``resamples`` at least 1. A draw whose denominator is zero is left out.
    """
    generator, ratios = np.random.default_rng(seed), []
    for block in _blocks(resamples, numerators.size):
        drawn = generator.integers(numerators.size, size=(block, numerators.size))
        totals = denominators[drawn].sum(axis=1)  # (block,)
        ratios.append(numerators[drawn].sum(axis=1)[totals > 0] / totals[totals > 0])
    return np.concatenate(ratios)


def hits_and_samples(
    numerators: ArrayLike, denominators: ArrayLike, axes: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both as arrays of ``axes`` axes, checked: equal shapes, finite, and 0 <= numerator <= denominator."""
    hits, samples = _counts("numerators", numerators, axes), _counts("denominators", denominators, axes)
    if hits.shape != samples.shape:
        of_hits, of_samples = (" x ".join(map(str, array.shape)) for array in (hits, samples))
        raise RingfenceError(f"numerators are of {of_hits} prompts and denominators of {of_samples}; give one of each")
    if np.any(hits > samples):
        raise RingfenceError(f"{np.sum(hits > samples)} prompts have more hits than samples; swap the two?")
    return hits, samples


def check_confidence(confidence: float, resamples: int = 1) -> None:
    """Raise :class:`RingfenceError` unless it is a fraction between 0 and 1, and there is a resample."""
    if not 0 < confidence < 1:
        raise RingfenceError(f"confidence is {confidence}: it must be between 0 and 1")
    if resamples < 1:
        raise RingfenceError(f"resamples is {resamples}: it must be at least 1")


def _score_interval(rate: float, n: float, confidence: float) -> Interval:
    """Wilson's formula; ``n`` > 0 need not be whole. A bound at 0 or 1 is exactly that."""
    z = float(ndtri((1 + confidence) / 2))
    middle = rate + z * z / (2 * n)
    half = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return Interval(
        (middle - half) / scale if rate > 0 else 0.0,
        (middle + half) / scale if rate < 1 else 1.0,
    )


def _samples_for(rate: float, bound: float, confidence: float) -> float:
    """How many independent samples have ``bound`` in their exact interval around ``rate``."""

    def beyond(log_n: float) -> float:
        interval = exact_interval(rate, math.exp(log_n), confidence)
        return interval.high - bound if bound > rate else bound - interval.low

    least, most = -7.0, 28.0
    if beyond(most) > 0:
        return math.inf
    return math.exp(float(brentq(beyond, least, most))) if beyond(least) > 0 else math.exp(least)


def _blocks(resamples: int, size: int) -> Iterator[int]:
    """Sizes of the blocks of resamples that bound the memory."""
    block = max(1, _DRAWN_AT_ONCE // size)
    for start in range(0, resamples, block):
        yield min(block, resamples - start)


def _with_samples(
    hits: NDArray[np.float64], samples: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return hits[samples > 0], samples[samples > 0]


def _counts(name: str, values: ArrayLike, axes: int) -> NDArray[np.float64]:
    counts = np.asarray(values, dtype=np.float64)
    if counts.ndim != axes:
        wanted = "one count a prompt is wanted" if axes == 1 else "seeds x prompts are wanted"
        raise RingfenceError(f"{name} have shape {counts.shape}: {wanted}")
    if not np.all(np.isfinite(counts)) or np.any(counts < 0):
        raise RingfenceError(f"{name} hold a count that is negative or not finite")
    return counts
