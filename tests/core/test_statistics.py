"""Intervals against closed formulas, a naive loop, and simulated data whose true rate is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from ringfence.core import statistics
from ringfence.core.errors import RingfenceError
from ringfence.core.statistics import NO_INTERVAL, Interval, clustered_bootstrap, wider, wilson


def naive_bootstrap(hits, samples, resamples, seed, confidence=0.95):
    """The definition, one resample and one prompt at a time (numpy draws the same numbers in any shape)."""
    generator = np.random.default_rng(seed)
    ratios = []
    for _ in range(resamples):
        drawn = [int(generator.integers(len(hits))) for _ in hits]
        total = sum(samples[prompt] for prompt in drawn)
        if total:
            ratios.append(sum(hits[prompt] for prompt in drawn) / total)
    ratios.sort()

    def quantile(share):  # linear between order statistics
        place = share * (len(ratios) - 1)
        below = math.floor(place)
        above = min(below + 1, len(ratios) - 1)
        return ratios[below] + (place - below) * (ratios[above] - ratios[below])

    return quantile((1 - confidence) / 2), quantile((1 + confidence) / 2)


# --- Wilson -------------------------------------------------------------------------------------------------


@given(n=st.integers(1, 3000), share=st.floats(0, 1), confidence=st.floats(0.5, 0.999))
def test_wilson_is_the_closed_formula(n, share, confidence):
    successes = round(share * n)
    p, z = successes / n, norm.ppf((1 + confidence) / 2)
    middle = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    interval = wilson(successes, n, confidence)
    assert interval.low == pytest.approx((middle - half) / (1 + z * z / n), abs=1e-9)
    assert interval.high == pytest.approx((middle + half) / (1 + z * z / n), abs=1e-9)


def test_wilson_of_none_and_of_all():
    """0 of n: the upper bound is z^2 / (n + z^2). z = 1.959964, z^2 = 3.841459; 3.841459 / 8.841459 is it."""
    assert wilson(0, 5).low == 0
    assert wilson(0, 5).high == pytest.approx(0.434482, abs=1e-6)
    assert wilson(5, 5).low == pytest.approx(1 - 0.434482, abs=1e-6)
    assert wilson(5, 5).high == 1


@given(n=st.integers(1, 500), share=st.floats(0, 1))
def test_wilson_holds_the_rate_and_mirrors(n, share):
    successes = round(share * n)
    interval, mirror = wilson(successes, n), wilson(n - successes, n)
    assert 0 <= interval.low <= successes / n <= interval.high <= 1
    assert (1 - mirror.high, 1 - mirror.low) == pytest.approx((interval.low, interval.high), abs=1e-9)


def test_wilson_of_no_data_is_nan():
    assert math.isnan(wilson(0, 0).low)
    assert math.isnan(wilson(0, 0).high)


def test_wilson_takes_numpy_counts():
    assert wilson(np.int64(2), np.int64(7)) == wilson(2, 7)


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5), (1, 0), (0, -1)])
def test_wilson_rejects_impossible_counts(successes, n):
    with pytest.raises(RingfenceError, match=f"{successes} successes of {n}"):
        wilson(successes, n)


@pytest.mark.parametrize("confidence", [0, 1, 95, float("nan")])
def test_confidence_is_a_fraction(confidence):
    with pytest.raises(RingfenceError, match="confidence is"):
        wilson(1, 2, confidence)
    with pytest.raises(RingfenceError, match="confidence is"):
        clustered_bootstrap([1, 0], [1, 1], confidence=confidence)


# --- bootstrap ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 42])
def test_bootstrap_is_the_naive_loop(seed):
    hits, samples = [3, 0, 0, 5, 1, 0, 2], [5, 5, 0, 5, 1, 3, 8]
    interval = clustered_bootstrap(hits, samples, resamples=300, seed=seed, confidence=0.9)
    low, high = naive_bootstrap(hits, samples, 300, seed, 0.9)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-12)


def test_two_prompts_by_hand():
    """0 of 1 and 1 of 1 give resamples of 0 (a quarter), 1/2 (half) and 1 (a quarter): the 2.5% quantile
    is 0, the 97.5% quantile 1, and at 40% confidence the 30% and 70% quantiles are both 1/2."""
    assert clustered_bootstrap([0, 1], [1, 1]) == Interval(0, 1)
    assert clustered_bootstrap([0, 1], [1, 1], confidence=0.4) == Interval(0.5, 0.5)


def test_the_ratio_is_of_sums_not_a_mean_of_ratios():
    """0 of 1 and 9 of 9: half of the resamples hold both, at 9/10 (a mean of ratios would be 1/2)."""
    assert clustered_bootstrap([0, 9], [1, 9], confidence=0.2) == Interval(0.9, 0.9)


def test_a_resample_without_a_denominator_is_left_out():
    """Prompts with 1 of 2 and 0 of 0: a quarter of the resamples is 0/0, all others are 1/2."""
    assert clustered_bootstrap([1, 0], [2, 0]) == Interval(0.5, 0.5)


def test_prompts_that_agree_have_zero_width():
    assert clustered_bootstrap([0] * 5, [3] * 5) == Interval(0, 0)
    assert clustered_bootstrap([3] * 5, [3] * 5) == Interval(1, 1)


@pytest.mark.parametrize(("hits", "samples"), [([], []), ([1], [2]), ([0, 0], [0, 0])])
def test_too_little_data_is_nan(hits, samples):
    interval = clustered_bootstrap(hits, samples)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_blocks_do_not_change_the_result(monkeypatch):
    hits, samples = np.arange(10), np.full(10, 10)
    whole = clustered_bootstrap(hits, samples, resamples=101)
    monkeypatch.setattr(statistics, "_DRAWN_AT_ONCE", 70)  # blocks of 7 resamples, the last one of 3
    assert clustered_bootstrap(hits, samples, resamples=101) == whole


def test_the_seed_decides():
    hits, samples = np.array([0, 7, 1, 19, 3, 11, 2, 5]), np.array([20, 17, 20, 19, 13, 20, 11, 5])
    assert clustered_bootstrap(hits, samples, seed=3) == clustered_bootstrap(hits, samples, seed=3)
    assert clustered_bootstrap(hits, samples, seed=3) != clustered_bootstrap(hits, samples, seed=4)


@pytest.mark.parametrize(
    ("hits", "samples", "message"),
    [
        ([1, 2], [1, 2, 3], "numerators are of 2 prompts and denominators of 3"),
        ([[1, 2]], [[1, 2]], r"numerators have shape \(1, 2\)"),
        ([1, -1], [1, 1], "numerators hold a count that is negative"),
        ([1, 1], [1, float("nan")], "denominators hold a count that is negative or not finite"),
    ],
)
def test_bootstrap_rejects_bad_counts(hits, samples, message):
    with pytest.raises(RingfenceError, match=message):
        clustered_bootstrap(hits, samples)


def test_bootstrap_wants_a_resample():
    with pytest.raises(RingfenceError, match="resamples is 0"):
        clustered_bootstrap([0, 1], [1, 1], resamples=0)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=12))
def test_bootstrap_stays_between_the_extreme_prompts(counts):
    hits, samples = [min(pair) for pair in counts], [max(pair) for pair in counts]
    rates = [hit / total for hit, total in zip(hits, samples, strict=True) if total]
    interval = clustered_bootstrap(hits, samples, resamples=200)
    if rates:
        assert min(rates) - 1e-12 <= interval.low <= interval.high <= max(rates) + 1e-12
    else:
        assert math.isnan(interval.width)


def test_coverage_of_clustered_data():
    """40 prompts of 20 samples whose own rates are Beta(0.6, 1.4), mean 0.3. Over 200 data sets the clustered
    interval covers 0.3 about 95% of the time (binomial sd 1.5 points; 40 prompts cost a little). Wilson takes
    the 800 samples for independent; the design effect is 1 + 19/3 = 7.3, so it is 2.7 times too narrow."""
    generator = np.random.default_rng(7)
    clustered = pooled = 0
    for _ in range(200):
        hits = generator.binomial(20, generator.beta(0.6, 1.4, size=40))
        by_prompt = clustered_bootstrap(hits, np.full(40, 20), resamples=500)
        independent = wilson(int(hits.sum()), 800)
        clustered += by_prompt.low <= 0.3 <= by_prompt.high
        pooled += independent.low <= 0.3 <= independent.high
    assert 0.89 <= clustered / 200 <= 0.99
    assert pooled / 200 < 0.7


# --- wider --------------------------------------------------------------------------------------------------


def test_wider():
    narrow, wide = Interval(0.2, 0.3), Interval(0.0, 0.4)
    assert wider(narrow, wide) is wide
    assert wider(wide, narrow) is wide
    assert wider(narrow, NO_INTERVAL) is narrow
    assert wider(NO_INTERVAL, narrow) is narrow
    assert math.isnan(wider(NO_INTERVAL, NO_INTERVAL).width)


def test_wider_of_equals_is_the_first():
    first, second = Interval(0.0, 0.5), Interval(0.5, 1.0)
    assert wider(first, second) is first
    assert wider(Interval(0.25, 0.25), NO_INTERVAL) == Interval(0.25, 0.25)
