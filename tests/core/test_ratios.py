"""The ratio of two paired rates: by hand, where the bootstrap sees nothing, and how often its interval is right."""

import math

import numpy as np
import pytest

from ringfence.core.comparisons import paired_difference
from ringfence.core.errors import RingfenceError
from ringfence.core.ratios import Ratio, paired_gain, paired_ratio
from ringfence.core.statistics import clustered_interval

ONE = np.ones(4)


def test_the_value_is_the_ratio_of_mean_rates() -> None:
    """Rates 1/2, 1/4 of a and 1, 1/2 of b: 0.375 / 0.75, whatever the numbers of samples."""
    found = paired_ratio(([5, 1], [10, 4]), ([3, 2], [3, 4]))
    assert found.value == pytest.approx(0.5)
    assert found.low < 0.5 < found.high
    assert found.n == 2


def test_a_constant_ratio_of_many_samples_is_known() -> None:
    """a is right half as often as b on every prompt; 4,000 samples a prompt leave little noise."""
    samples = np.full(50, 4000)
    found = paired_ratio((samples / 4, samples), (samples / 2, samples))
    assert found.value == pytest.approx(0.5)
    assert 0.49 < found.low < 0.5 < found.high < 0.51


def test_where_nothing_varies_the_rates_own_bounds_decide() -> None:
    """20 hits of 20 in both: the bootstrap says exactly 1. With a's bounds l to 1 and r = 0 (neither varies) the least
    c solves 1 - c = sqrt((1 - l)^2 + 0), b's upper bound being 1: c = l."""
    hits = np.ones(20)
    found = paired_ratio((hits, hits), (hits, hits))
    low = clustered_interval(hits, hits).low
    assert found.value == 1
    assert found.low == pytest.approx(low)
    assert found.high == pytest.approx(1 / low)


@pytest.mark.parametrize("prompts", [40, 100, 300])
def test_runs_that_agree_on_every_prompt_may_disagree_on_others(prompts: int) -> None:
    """None of n differ, so up to 1 - 0.025^(1 / n) of all may, each to run a's cost: that much of run b's 80%."""
    hits = np.arange(prompts) < 0.8 * prompts
    found = paired_ratio((hits, np.ones(prompts)), (hits, np.ones(prompts)))
    assert found.low == pytest.approx(1 - (1 - 0.025 ** (1 / prompts)) / 0.8, abs=0.002)
    assert found.high > 1 / found.low - 0.01
    four = paired_ratio(([1, 1, 0, 0], ONE), ([1, 1, 0, 0], ONE))
    assert four.low < 0.5
    assert four.high > 2


def test_a_gain_is_a_difference_that_is_not_too_sure() -> None:
    """As the paired difference where prompts disagree enough; where they agree on all, it may still be something."""
    a, b, ten = [9, 4, 0, 2, 0, 8, 1, 7], [3, 6, 7, 3, 8, 1, 2, 0], np.full(8, 10)
    found, usual = paired_gain((a, ten), (b, ten)), paired_difference(a, ten, b, ten)
    assert (found.value, found.low, found.high, found.n) == pytest.approx((usual.value, usual.low, usual.high, 8))
    same = paired_gain(([1, 1, 0, 0], ONE), ([1, 1, 0, 0], ONE))
    assert (same.value, same.n) == (0, 4)
    assert same.low < -0.2
    assert same.high > 0.2
    assert paired_gain(([], []), ([], [])).n == 0
    assert math.isnan(paired_gain(([1], [1]), ([0], [1])).low)


def test_it_is_fiellers_interval_where_bounds_are_symmetric() -> None:
    """Many prompts of one sample: a Wald interval, so that Fieller's quadratic in c gives the same bounds nearly."""
    generator = np.random.default_rng(3)
    a, b = generator.random(4000) < 0.5, generator.random(4000) < 0.6
    found = paired_ratio((a, np.ones(4000)), (b, np.ones(4000)))
    covariance = np.cov(np.stack([a, b]).astype(float)) / 4000
    x, y, z = a.mean(), b.mean(), 1.959964
    # (x - c y)^2 = z^2 (v11 - 2 c v12 + c^2 v22)
    quadratic = [y**2 - z**2 * covariance[1, 1], 2 * (z**2 * covariance[0, 1] - x * y), x**2 - z**2 * covariance[0, 0]]
    low, high = sorted(np.roots(quadratic))
    assert found.low == pytest.approx(low, abs=2e-3)
    assert found.high == pytest.approx(high, abs=2e-3)


def test_no_data_is_no_number() -> None:
    assert str(paired_ratio(([], []), ([], []))) == str(Ratio(math.nan, math.nan, math.nan, 0))
    nothing = paired_ratio((ONE, ONE), (0 * ONE, ONE))
    assert math.isnan(nothing.value), "a run that has learned nothing is no measure"
    assert math.isnan(nothing.low)
    single = paired_ratio(([1], [2]), ([2], [2]))
    assert (single.value, math.isnan(single.low)) == (0.5, True)


def test_without_a_hit_the_ratio_is_0_and_may_be_more() -> None:
    found = paired_ratio((np.zeros(30), np.ones(30)), (np.ones(30), np.ones(30)))
    assert (found.value, found.low) == (0, 0)
    assert 0.05 < found.high < 0.2


def test_prompts_without_samples_raise() -> None:
    with pytest.raises(RingfenceError, match="1 of 4 prompts have no samples in one of the runs"):
        paired_ratio((ONE, ONE), (0 * ONE, [1, 1, 1, 0]))


@pytest.mark.parametrize(("prompts", "samples", "score"), [(40, 1, 0.9), (40, 10, 0.5), (100, 10, 0.2)])
def test_the_interval_covers_and_rarely_passes_what_is_below(prompts: int, samples: int, score: float) -> None:
    """300 pairs of runs whose prompts differ in difficulty; run a truly keeps 95%. The lower bound is above 0.95 in at
    most 2.5% of them, give or take three standard errors (0.9 points each); the interval holds 0.95 in 95%."""
    generator, inside, above, size = np.random.default_rng(prompts + samples), 0, 0, np.full(prompts, samples)
    for _ in range(300):
        easy = generator.beta(2 * score, 2 * (1 - score), prompts)  # of b; ICC 1/3
        hits = [generator.binomial(samples, rate) for rate in (0.95 * easy, easy)]
        found = paired_ratio((hits[0], size), (hits[1], size), resamples=500)
        inside += found.low <= 0.95 <= found.high
        above += found.low > 0.95
    assert above / 300 <= 0.025 + 0.027
    assert inside / 300 >= 0.95 - 0.038
