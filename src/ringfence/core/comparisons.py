"""Compare two runs on the same prompts: paired differences, corrections for many tests, detectable differences."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri
from scipy.stats import false_discovery_control

from ringfence.core.errors import RingfenceError
from ringfence.core.statistics import Interval, check_confidence, clustered_rate, hits_and_samples

LEAST_P = 1e-6
"""smaller p-values are this one: so far out, no approximation means anything"""


@dataclass(frozen=True)
class Difference:
    """The rate of run a minus the rate of run b on the same prompts."""

    value: float
    """mean over prompts of the differences of their rates, -1 to 1; NaN without prompts"""
    low: float
    """lower bound of the interval; NaN with fewer than 2 prompts"""
    high: float
    """upper bound of the interval; NaN with fewer than 2 prompts"""
    p: float
    """two-sided p-value of "the two rates are equal", 0 to 1; NaN with fewer than 2 prompts"""
    n: int
    """prompts"""


def paired_difference(
    hits_a: ArrayLike,
    samples_a: ArrayLike,
    hits_b: ArrayLike,
    samples_b: ArrayLike,
    confidence: float = 0.95,
) -> Difference:
    """How much higher run a's rate is than run b's; the four counts are (prompts,), of the same prompts in order.

    Every prompt weighs the same: d_i = a_i / m_i - b_i / n_i, value = mean d_i. A difference of pooled rates would let
    the prompts that happen to have more samples in one run pass for a difference of the runs; with equal samples the
    two agree. The interval is :func:`square_and_add` of the two runs' rates, each as if all prompts had the harmonic
    mean of its samples. p is the least 1 - confidence at which the interval leaves out 0, so that the two agree. It is
    a test of equal rates: that one run's misaligned answers come by whole prompts and the other's do not is no
    difference (a permutation test, which asks whether the runs can be exchanged, finds one).

    Raises :class:`RingfenceError` on a prompt without samples in one of the runs and on what
    :func:`ringfence.core.statistics.clustered_interval` raises.
    """
    check_confidence(confidence)
    a, b = hits_and_samples(hits_a, samples_a), hits_and_samples(hits_b, samples_b)
    check_paired(a[1], b[1])
    rates = np.stack([a[0] / a[1], b[0] / b[1]], axis=1)  # (prompts, runs)
    prompts = len(rates)
    if not prompts:
        return Difference(math.nan, math.nan, math.nan, math.nan, 0)
    value = float(rates[:, 0].mean() - rates[:, 1].mean())
    if prompts < 2:
        return Difference(value, math.nan, math.nan, math.nan, prompts)
    samples = np.broadcast_to([prompts / (1 / counts).sum() for counts in (a[1], b[1])], rates.shape)

    interval = square_and_add(rates * samples, samples, np.array([1.0, -1.0]))
    found = interval(confidence)
    return Difference(value, found.low, found.high, p_value(interval), prompts)


def square_and_add(
    hits: NDArray[np.float64], samples: NDArray[np.float64], signs: NDArray[np.float64]
) -> Callable[[float], Interval]:
    """Newcombe's (1998) interval of a signed sum of rates on the same prompts, as a function of the confidence.

    hits, samples: (prompts, rates), at least 2 prompts, all with samples. Each rate has the interval of its
    :class:`~ringfence.core.statistics.ClusteredRate`, whose distances from the rate are added like standard errors,
    with the rates' correlations over prompts (0 where one does not vary).
    """
    found = [clustered_rate(k, n) for k, n in zip(hits.T, samples.T, strict=True)]
    rates = [rate for rate in found if rate is not None]
    values = np.array([rate.value for rate in rates])
    with np.errstate(invalid="ignore", divide="ignore"):
        alike = np.nan_to_num(np.atleast_2d(np.corrcoef(hits / samples, rowvar=False)))
    return lambda confidence: add_distances(values, [rate.interval(confidence) for rate in rates], alike, signs)


def add_distances(
    values: NDArray[np.float64], bounds: list[Interval], alike: NDArray[np.float64], signs: NDArray[np.float64]
) -> Interval:
    """The interval of signs @ values from each one's interval and their correlations ``alike``, (values, values).

    For a - b with bounds l, u and k, v and correlation r: a - b - sqrt((a-l)^2 + (v-b)^2 - 2 r (a-l) (v-b)) to
    a - b + sqrt((u-a)^2 + (b-k)^2 - 2 r (u-a) (b-k)). Within what a sum of rates can be.
    """
    below = values - np.array([bound.low for bound in bounds])
    above = np.array([bound.high for bound in bounds]) - values
    alike = np.where(np.eye(len(values), dtype=bool), 1.0, alike)
    down, up = (signs * np.where(signs > 0, *sides) for sides in ((below, above), (above, below)))
    value, low, high = float(signs @ values), *(math.sqrt(max(0.0, float(side @ alike @ side))) for side in (down, up))
    return Interval(max(value - low, signs[signs < 0].sum()), min(value + high, signs[signs > 0].sum()))


def p_value(interval: Callable[[float], Interval]) -> float:
    """The least 1 - confidence at which ``interval(confidence)`` leaves out 0: :data:`LEAST_P` to 1 (above 0.999).

    The intervals must shrink as their confidence does.
    """

    def beyond(log_p: float, side: int) -> float:
        found = interval(1 - math.exp(log_p))
        return found.low if side > 0 else -found.high

    least, most = math.log(LEAST_P), math.log(0.999)
    narrowest = interval(1 - math.exp(most))
    if narrowest.low <= 0 <= narrowest.high:
        return 1.0
    side = 1 if narrowest.low > 0 else -1
    if beyond(least, side) > 0:
        return LEAST_P
    return math.exp(float(brentq(beyond, least, most, args=(side,), xtol=1e-9)))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's adjusted p-values, in place: below alpha with a chance of at most alpha that any of them is wrong.

    The i-th smallest of m (i from 1) becomes max over j <= i of min(1, (m - j + 1) p_j). Whatever their dependence.
    p_values: (comparisons,); NaN stays NaN and does not count. Raises :class:`RingfenceError` outside 0 to 1.
    """
    adjusted, known = _p_values(p_values)
    order = np.argsort(adjusted[known])
    steps = np.maximum.accumulate(adjusted[known][order] * np.arange(order.size, 0, -1))
    within = np.empty_like(steps)
    within[order] = np.minimum(steps, 1)
    adjusted[known] = within
    return adjusted


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Benjamini and Hochberg's adjusted p-values: at most alpha of those below alpha are wrong, on average.

    The i-th smallest of m becomes min over j >= i of min(1, m p_j / j); for independent or positively dependent ones.
    p_values: (comparisons,); NaN stays NaN and does not count. Raises :class:`RingfenceError` outside 0 to 1.
    """
    adjusted, known = _p_values(p_values)
    if known.any():
        adjusted[known] = false_discovery_control(adjusted[known])
    return adjusted


def minimum_detectable_difference(
    n_prompts: int,
    samples: float,
    rate: float,
    intra_prompt_correlation: float,
    power: float = 0.8,
    confidence: float = 0.95,
    pairing: float = 0.0,
) -> float:
    """The smallest rise over ``rate`` of a second run that a two-sided z-test finds with probability ``power``.

    n_prompts, samples:       of each run: k prompts, m samples of each
    intra_prompt_correlation: ICC, 0 to 1, of both runs; :func:`ringfence.core.statistics.intra_prompt_correlation`
    pairing:                  correlation r of the prompts' true rates in the two runs, 0 (each run has prompts of its
                              own) to 1; the same prompts make it large, which takes their share off the variance

    With rates p1 = rate, p2 = p1 + d, p their mean, z the normal quantile of (1 + confidence) / 2 and the variance
    u = (1 + (m - 1) ICC) / (k m) of a mean in units of p (1 - p): s0^2 = 2 p (1 - p) (u - r ICC / k) if there is no
    difference, s1^2 = (p1 (1 - p1) + p2 (1 - p2)) u - 2 r ICC sqrt(p1 (1 - p1) p2 (1 - p2)) / k if there is, and d
    solves Phi((d - z s0) / s1) + Phi((-d - z s0) / s1) = power. 0 if nothing varies; NaN if no rise up to 1 is found
    so often, and for a rate or a correlation that is NaN.
    Raises :class:`RingfenceError` on anything else outside its range, and unless 1 - confidence < power < 1.
    """
    check_confidence(confidence)
    _check_design(n_prompts, samples, power, confidence)
    for name, share in (("rate", rate), ("ICC", intra_prompt_correlation), ("pairing", pairing)):
        if not (math.isnan(share) or 0 <= share <= 1):
            raise RingfenceError(f"{name} is {share}: it must be from 0 to 1")
    if math.isnan(rate + intra_prompt_correlation + pairing) or rate == 1:
        return math.nan
    z, shared = float(ndtri((1 + confidence) / 2)), pairing * intra_prompt_correlation / n_prompts
    unit = (1 + (samples - 1) * intra_prompt_correlation) / (n_prompts * samples)

    def excess(d: float) -> float:
        own, other, p = rate * (1 - rate), (rate + d) * (1 - rate - d), rate + d / 2
        s0 = math.sqrt(max(0.0, 2 * p * (1 - p) * (unit - shared)))
        s1 = math.sqrt(max(0.0, (own + other) * unit - 2 * shared * math.sqrt(max(0.0, own * other))))
        with np.errstate(divide="ignore"):  # nothing varies: it is found for certain, or never
            found = ndtr(np.divide(d - z * s0, s1)) + ndtr(np.divide(-d - z * s0, s1))
        return float(found) - power

    least, most = 1e-9 * (1 - rate), 1 - rate
    if excess(least) >= 0:
        return 0.0
    return float(brentq(excess, least, most, xtol=1e-12)) if excess(most) >= 0 else math.nan


def check_paired(samples_a: NDArray[np.float64], samples_b: NDArray[np.float64]) -> None:
    """Raise :class:`RingfenceError` unless both runs, (prompts,) each, have samples of every prompt."""
    if samples_a.size != samples_b.size:
        raise RingfenceError(f"run a has {samples_a.size} prompts and run b {samples_b.size}; give the same of both")
    missing = int(np.sum((samples_a == 0) | (samples_b == 0)))
    if missing:
        raise RingfenceError(
            f"{missing} of {samples_a.size} prompts have no samples in one of the runs; leave them out of both"
        )


def _check_design(n_prompts: int, samples: float, power: float, confidence: float) -> None:
    if not (n_prompts >= 1 and samples >= 1):
        raise RingfenceError(f"{n_prompts} prompts x {samples} samples: at least 1 of each is needed")
    if not 1 - confidence < power < 1:
        raise RingfenceError(f"power is {power}: it must be above 1 - confidence = {1 - confidence:.3g} and below 1")


def _p_values(p_values: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """A copy, and which of them are there."""
    given = np.array(p_values, dtype=np.float64)
    if given.ndim != 1:
        raise RingfenceError(f"p-values have shape {given.shape}: one a comparison is wanted")
    known = ~np.isnan(given)
    outside = known & ~((given >= 0) & (given <= 1))
    if outside.any():
        at = int(outside.argmax())
        raise RingfenceError(f"p-value {at} is {given[at]}: it must be from 0 to 1")
    return given, known
