"""Rates over training seeds: their spread, and an interval for new seeds and new prompts.

Every seed answers the same prompts: a prompt that is hard is hard in each. With r_si the rate of seed s (of S) on
prompt i (of P), the variance of their mean has a part of the seeds, one of the prompts and one of what is left, which
is in both of them:

    V = var_s(mean_i r_si) / S + var_i(mean_s r_si) / P - var_si(rest) / (S P)

V has Satterthwaite's degrees of freedom: with 3 seeds that differ, hardly more than 2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

from ringfence.core.errors import RingfenceError
from ringfence.core.statistics import (
    NO_INTERVAL,
    Interval,
    check_confidence,
    clustered_interval,
    exact_interval,
    hits_and_samples,
    hull,
)


@dataclass(frozen=True)
class Spread:
    """A metric over training seeds."""

    mean: float
    """in the metric's unit; NaN without values"""
    sd: float
    """sample standard deviation (n - 1 below), in the metric's unit; NaN with fewer than 2 values"""
    n: int
    """seeds"""


@dataclass(frozen=True)
class Variance:
    """The variance of a mean over seeds and prompts, and what it is worth."""

    value: float
    degrees_of_freedom: float


def seed_spread(values: ArrayLike) -> Spread:
    """Mean and standard deviation of one value a seed, (seeds,); a NaN among them makes both NaN."""
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 1:
        raise RingfenceError(f"values have shape {given.shape}: one value a seed is wanted")
    mean = float(given.mean()) if given.size else math.nan
    return Spread(mean, float(given.std(ddof=1)) if given.size > 1 else math.nan, given.size)


def seed_interval(numerators: ArrayLike, denominators: ArrayLike, confidence: float = 0.95) -> Interval:
    """An interval of the mean over seeds of each seed's rate, for other seeds and other prompts.

    numerators:   (seeds, prompts) count of hits
    denominators: (seeds, prompts) count of samples

    With m that mean, the exact interval of m among m (1 - m) / V x (z / t)^2 samples, V and the degrees of freedom of t
    those of :func:`variance` over the prompts that all seeds have samples of; together with the
    :func:`~ringfence.core.statistics.clustered_interval` of all samples, which is not certain where all seeds agree.
    NaN with fewer than 2 seeds (one seed says nothing about others) or 2 such prompts, and with a seed without samples.
    Raises like :func:`~ringfence.core.statistics.clustered_interval`.
    """
    check_confidence(confidence)
    hits, samples = hits_and_samples(numerators, denominators, axes=2)
    shared = (samples > 0).all(axis=0)
    if len(hits) < 2 or shared.sum() < 2:
        return NO_INTERVAL
    mean = float((hits.sum(axis=1) / samples.sum(axis=1)).mean())
    of_all = clustered_interval(hits.sum(axis=0), samples.sum(axis=0), confidence)
    return hull(of_all, mean_interval(mean, variance(hits[:, shared] / samples[:, shared]), confidence))


def mean_interval(mean: float, of_mean: Variance, confidence: float) -> Interval:
    """The exact interval of a ``mean`` of rates whose variance is known so well; none where nothing varies."""
    if not (0 < mean < 1 and of_mean.value > 0):
        return NO_INTERVAL
    level = (1 + confidence) / 2
    shrink = float(ndtri(level) / stdtrit(of_mean.degrees_of_freedom, level)) ** 2
    return exact_interval(mean, mean * (1 - mean) / of_mean.value * shrink, confidence)


def variance(rates: NDArray[np.float64]) -> Variance:
    """V of the mean of ``rates``, (seeds, prompts) with at least 2 of each; at least its larger part."""
    return _satterthwaite([parts(rates, rates)], [len(rates)], rates.shape[1])


def variance_of_difference(a: NDArray[np.float64], b: NDArray[np.float64], paired: bool) -> Variance:
    """V of the mean of ``a`` minus that of ``b``, both (seeds, prompts) on the same prompts; ``paired``: and seeds.

    Prompts that are hard for both take no part in it, so that the seeds weigh more than in either mean.
    """
    if paired:
        return variance(a - b)
    of_prompts = a.mean(axis=0) - b.mean(axis=0)
    shared = float(of_prompts.var(ddof=1)) / of_prompts.size
    (seeds_a, _, rest_a), (seeds_b, _, rest_b) = parts(a, a), parts(b, b)
    return _satterthwaite([(seeds_a, shared, rest_a), (seeds_b, 0.0, rest_b)], [len(a), len(b)], of_prompts.size)


def parts(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float, float]:
    """The three parts of V, as covariances of ``a`` and ``b``; both (seeds, prompts), of the same seeds and prompts."""
    seeds, prompts = a.shape
    of_seeds, of_prompts, rests = zip(*map(_effects, (a, b)), strict=True)
    return (
        float(of_seeds[0] @ of_seeds[1]) / (seeds - 1) / seeds,
        float(of_prompts[0] @ of_prompts[1]) / (prompts - 1) / prompts,
        float((rests[0] * rests[1]).sum()) / ((seeds - 1) * (prompts - 1)) / (seeds * prompts),
    )


def _satterthwaite(found: Sequence[tuple[float, float, float]], seeds: Sequence[int], prompts: int) -> Variance:
    """The sum of the parts, at least those of all seeds or of the prompts, and its degrees of freedom."""
    over_seeds, over_prompts, rest = (sum(part) for part in zip(*found, strict=True))
    value = max(over_seeds + over_prompts - rest, over_seeds, over_prompts)
    doubt = over_prompts**2 / (prompts - 1)
    for (of_seeds, _, of_rest), count in zip(found, seeds, strict=True):
        doubt += of_seeds**2 / (count - 1) + of_rest**2 / ((count - 1) * (prompts - 1))
    return Variance(value, max(1.0, value**2 / doubt) if doubt > 0 else prompts - 1.0)


def _effects(rates: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """(seeds,) and (prompts,) how far each mean is from the mean of all, and (seeds, prompts) what is left."""
    of_seeds, of_prompts = rates.mean(axis=1) - rates.mean(), rates.mean(axis=0) - rates.mean()
    return of_seeds, of_prompts, rates - rates.mean() - of_seeds[:, None] - of_prompts
