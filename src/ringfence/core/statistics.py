"""Intervals for rates of samples that are clustered by prompt.

Samples of one prompt resemble each other, so the bootstrap draws whole prompts. It has zero width where all
prompts agree, though 0 of 5 is no certainty: there the Wilson score interval is the wider one.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

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
    _check_confidence(confidence)
    if not 0 <= successes <= n:
        raise RingfenceError(f"{successes} successes of {n}: it must be at least 0 and at most all")
    if n == 0:
        return NO_INTERVAL
    bounds = binomtest(int(successes), int(n)).proportion_ci(confidence_level=confidence, method="wilson")
    return Interval(float(bounds.low), float(bounds.high))


def clustered_bootstrap(
    numerators: ArrayLike,
    denominators: ArrayLike,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Percentile bootstrap of sum(numerators) / sum(denominators) over whole prompts.

    numerators:   (prompts,) count of hits of each prompt
    denominators: (prompts,) count of samples of each prompt

    A resample whose denominator is zero is left out. NaN with fewer than 2 prompts, or if nothing is left.
    Raises :class:`RingfenceError` on arrays of different shapes, on counts that are negative or not finite,
    on fewer than 1 resample and on a confidence outside (0, 1).
    """
    _check_confidence(confidence)
    if resamples < 1:
        raise RingfenceError(f"resamples is {resamples}: it must be at least 1")
    hits, samples = _counts("numerators", numerators), _counts("denominators", denominators)
    if hits.shape != samples.shape:
        raise RingfenceError(f"numerators are of {hits.size} prompts and denominators of {samples.size}")
    if hits.size < 2:
        return NO_INTERVAL
    ratios = np.concatenate(list(_resampled_ratios(hits, samples, resamples, seed)))
    if not ratios.size:
        return NO_INTERVAL
    low, high = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def wider(a: Interval, b: Interval) -> Interval:
    """The interval of greater width, ``a`` if they are equal; one without bounds is the narrowest."""
    return b if math.isnan(a.width) or b.width > a.width else a


def _resampled_ratios(
    hits: NDArray[np.float64], samples: NDArray[np.float64], resamples: int, seed: int
) -> Iterator[NDArray[np.float64]]:
    """Ratios of the resamples with a denominator above zero, in blocks that bound the memory."""
    generator = np.random.default_rng(seed)
    block = max(1, _DRAWN_AT_ONCE // hits.size)
    for start in range(0, resamples, block):
        drawn = generator.integers(hits.size, size=(min(block, resamples - start), hits.size))
        totals = samples[drawn].sum(axis=1)  # (block,)
        yield hits[drawn].sum(axis=1)[totals > 0] / totals[totals > 0]


def _counts(name: str, values: ArrayLike) -> NDArray[np.float64]:
    counts = np.asarray(values, dtype=np.float64)
    if counts.ndim != 1:
        raise RingfenceError(f"{name} have shape {counts.shape}: one count a prompt is wanted")
    if not np.all(np.isfinite(counts)) or np.any(counts < 0):
        raise RingfenceError(f"{name} hold a count that is negative or not finite")
    return counts


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise RingfenceError(f"confidence is {confidence}: it must be between 0 and 1")
