"""Spreads and intervals over seeds, by hand, against an analysis of variance, and on simulated seeds."""

import math
from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import t, ttest_1samp

from ringfence.core.errors import RingfenceError
from ringfence.core.seeds import Spread, mean_interval, seed_interval, seed_spread, variance
from ringfence.core.statistics import clustered_interval, exact_interval, hull


def test_seed_spread_by_hand() -> None:
    """2, 4, 9: mean 5, squares 9 + 1 + 16 = 26 over 2."""
    assert seed_spread([2, 4, 9]) == Spread(5, pytest.approx(math.sqrt(13)), 3)


def test_seed_spread_of_little_is_nan() -> None:
    one, none = seed_spread([0.4]), seed_spread([])
    assert (one.mean, one.n, none.n) == (0.4, 1, 0)
    assert all(map(math.isnan, (one.sd, none.mean, none.sd)))
    assert math.isnan(seed_spread([0.1, math.nan]).mean)


def test_prompts_that_agree_leave_the_seeds() -> None:
    """Rates 0.2, 0.4, 0.6 of three seeds on equal prompts: variance 0.04 / 3 with 2 degrees of freedom, as a t-test of
    three values has it."""
    rates = np.array([0.2, 0.4, 0.6])
    found = variance(np.repeat(rates[:, None], 5, axis=1))
    assert (found.value, found.degrees_of_freedom) == pytest.approx((0.04 / 3, 2))
    half = t.ppf(0.975, 2) * math.sqrt(found.value)
    assert 0.4 + half == pytest.approx(ttest_1samp(rates, 0).confidence_interval().high)


def test_seeds_that_agree_leave_the_prompts() -> None:
    """Three equal seeds: the variance of one seed's prompts, not a third of it."""
    rates = np.array([0.3, 0.9, 0.1, 0.4, 0.7])
    found = variance(np.tile(rates, (3, 1)))
    assert (found.value, found.degrees_of_freedom) == pytest.approx((rates.var(ddof=1) / 5, 4))


def test_the_variance_is_that_of_a_crossed_design() -> None:
    """5,000 tables of 4 seeds and 6 prompts whose effects have variances 4, 9 and 1: V is 4/4 + 9/6 + 1/24."""
    generator = np.random.default_rng(3)
    found = []
    for _ in range(5000):
        effects = 2 * generator.normal(size=(4, 1)) + 3 * generator.normal(size=(1, 6)) + generator.normal(size=(4, 6))
        found.append(variance(effects).value)
    assert np.mean(found) == pytest.approx(1 + 1.5 + 1 / 24, rel=0.03)


def test_the_interval_by_hand() -> None:
    """Rates 0.2, 0.4, 0.6 on equal prompts: 0.4 x 0.6 / (0.04 / 3) = 18 samples, by (1.959964 / 4.302653)^2 3.735037;
    the 5 prompts' own, 600 answers to which scatter as little as can be, lies within."""
    hits = np.repeat([[8], [16], [24]], 5, axis=1)
    by_hand = exact_interval(0.4, 3.735037)
    interval = seed_interval(hits, np.full((3, 5), 40))
    assert (interval.low, interval.high) == pytest.approx((by_hand.low, by_hand.high), abs=1e-6)
    assert clustered_interval(hits.sum(axis=0), [120] * 5).width < interval.width


@pytest.mark.parametrize("hits", [0, 10])
def test_seeds_without_a_difference_are_no_certainty(hits: int) -> None:
    """All or nothing: nothing is seen of the spread, and what is left is 5 prompts."""
    assert seed_interval(np.full((3, 5), hits), np.full((3, 5), 10)) == clustered_interval([3 * hits] * 5, [30] * 5)


def test_every_seed_weighs_the_same() -> None:
    """0 of 100 and 1 of 1 on both prompts: the middle is 1/2, not 2 of 202."""
    interval = seed_interval([[0, 0], [1, 1]], [[100, 100], [1, 1]])
    assert interval.low < 0.1
    assert interval.high > 0.9


def test_prompts_that_a_seed_lacks_are_in_its_rate_only() -> None:
    """27 of 50 and 17 of 40, mean 0.4825; the spread is that of the four prompts that both have."""
    hits, samples = np.array([[5, 2, 9, 4, 7], [3, 1, 8, 5, 0]]), np.array([[10] * 5, [10] * 4 + [0]])
    of_seeds = mean_interval(0.4825, variance(hits[:, :4] / 10), 0.95)
    pooled = clustered_interval(hits.sum(axis=0), samples.sum(axis=0))
    interval, by_hand = seed_interval(hits, samples), hull(pooled, of_seeds)
    assert (interval.low, interval.high) == pytest.approx((by_hand.low, by_hand.high))
    assert math.isnan(seed_interval([[1, 0], [0, 0]], [[1, 1], [1, 0]]).width)


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (0, 5)])
def test_one_seed_or_prompt_has_no_interval_over_seeds(shape: Any) -> None:
    assert math.isnan(seed_interval(np.zeros(shape), np.ones(shape)).width)


def test_a_seed_without_samples_has_no_interval() -> None:
    assert math.isnan(seed_interval([[1, 0], [0, 0]], [[1, 1], [0, 0]]).width)


def test_a_mean_that_does_not_vary_has_none() -> None:
    assert math.isnan(mean_interval(0.5, variance(np.full((3, 4), 0.5)), 0.95).width)


def test_seeds_x_prompts_are_wanted() -> None:
    with pytest.raises(RingfenceError, match=r"numerators have shape \(2,\): seeds x prompts"):
        seed_interval([0, 1], [1, 1])
    with pytest.raises(RingfenceError, match="numerators are of 1 x 2 prompts and denominators of 2 x 2"):
        seed_interval([[0, 1]], [[1, 1], [1, 1]])


@pytest.mark.parametrize(("seeds", "middle"), [(3, -1.5), (3, 0.0), (5, -1.5)])
def test_coverage_over_seeds(seeds: int, middle: float) -> None:
    """24 prompts x 10 samples, log odds with normal effects of seeds (0.8), prompts (1) and both (0.3): at least 94% of
    600 data sets hold the mean over all of them, less two binomial deviations. A bootstrap of 3 seeds held 82%."""
    generator = np.random.default_rng(5)
    truth = expit(middle + math.sqrt(0.8**2 + 1 + 0.3**2) * generator.normal(size=1_000_000)).mean()
    held = 0
    for _ in range(600):
        effects = 0.8 * generator.normal(size=(seeds, 1)) + generator.normal(size=(1, 24))
        hits = generator.binomial(10, expit(middle + effects + 0.3 * generator.normal(size=(seeds, 24))))
        interval = seed_interval(hits, np.full_like(hits, 10))
        held += interval.low <= truth <= interval.high
    assert held / 600 >= 0.94 - 2 * 0.0097
