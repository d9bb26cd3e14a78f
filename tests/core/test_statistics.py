"""Intervals against closed formulas, naive loops, and simulated data whose true rate is known."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binomtest, f_oneway, kurtosis, norm, t

from ringfence.core import statistics
from ringfence.core.errors import RingfenceError
from ringfence.core.statistics import (
    NO_INTERVAL,
    Interval,
    clustered_interval,
    degrees_of_freedom,
    exact_interval,
    hull,
    influence,
    intra_prompt_correlation,
    leave_one_prompt_out,
    percentile,
    prompts_needed,
    prompts_without_exception,
    resampled_ratios,
    wilson,
)

# --- Wilson -------------------------------------------------------------------------------------------------


@given(n=st.integers(1, 3000), share=st.floats(0, 1), confidence=st.floats(0.5, 0.999))
def test_wilson_is_the_closed_formula(n: Any, share: Any, confidence: Any) -> None:
    successes = round(share * n)
    p, z = successes / n, norm.ppf((1 + confidence) / 2)
    middle = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    interval = wilson(successes, n, confidence)
    assert interval.low == pytest.approx((middle - half) / (1 + z * z / n), abs=1e-9)
    assert interval.high == pytest.approx((middle + half) / (1 + z * z / n), abs=1e-9)


@given(n=st.integers(1, 3000), share=st.floats(0, 1), confidence=st.floats(0.5, 0.999))
def test_wilson_is_scipys(n: Any, share: Any, confidence: Any) -> None:
    successes = round(share * n)
    bounds = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    interval = wilson(successes, n, confidence)
    assert (interval.low, interval.high) == pytest.approx((bounds.low, bounds.high), abs=1e-9)


def test_wilson_of_none_and_of_all() -> None:
    """0 of n: the upper bound is z^2 / (n + z^2). z = 1.959964, z^2 = 3.841459; 3.841459 / 8.841459 is it."""
    assert wilson(0, 5).low == 0
    assert wilson(0, 5).high == pytest.approx(0.434482, abs=1e-6)
    assert wilson(5, 5).low == pytest.approx(1 - 0.434482, abs=1e-6)
    assert wilson(5, 5).high == 1


@given(n=st.integers(1, 500), share=st.floats(0, 1))
def test_wilson_holds_the_rate_and_mirrors(n: Any, share: Any) -> None:
    successes = round(share * n)
    interval, mirror = wilson(successes, n), wilson(n - successes, n)
    assert 0 <= interval.low <= successes / n <= interval.high <= 1
    assert (1 - mirror.high, 1 - mirror.low) == pytest.approx((interval.low, interval.high), abs=1e-9)


def test_wilson_of_no_data_is_nan() -> None:
    assert math.isnan(wilson(0, 0).low)
    assert math.isnan(wilson(0, 0).high)


def test_wilson_takes_numpy_counts() -> None:
    assert wilson(np.int64(2), np.int64(7)) == wilson(2, 7)


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5), (1, 0), (0, -1)])
def test_wilson_rejects_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(RingfenceError, match=f"{successes} successes of {n}"):
        wilson(successes, n)


@pytest.mark.parametrize("confidence", [0, 1, 95, float("nan")])
def test_confidence_is_a_fraction(confidence: Any) -> None:
    with pytest.raises(RingfenceError, match="confidence is"):
        wilson(1, 2, confidence)
    with pytest.raises(RingfenceError, match="confidence is"):
        clustered_interval([1, 0], [1, 1], confidence=confidence)


# --- Clopper and Pearson -------------------------------------------------------------------------------------


@given(n=st.integers(1, 3000), share=st.floats(0, 1), confidence=st.floats(0.5, 0.999))
def test_exact_is_scipys(n: Any, share: Any, confidence: Any) -> None:
    successes = round(share * n)
    bounds = binomtest(successes, n).proportion_ci(confidence, method="exact")
    interval = exact_interval(successes / n, n, confidence)
    assert (interval.low, interval.high) == pytest.approx((bounds.low, bounds.high), abs=1e-9)


def test_exact_of_none_and_all() -> None:
    """0 of n: nothing is certain up to 1 - 0.025^(1/n), 0.521824 of 5; half a sample is 1 - 0.025^2."""
    assert exact_interval(0, 5) == Interval(0, pytest.approx(0.521824, abs=1e-6))
    assert exact_interval(1, 5) == Interval(pytest.approx(1 - 0.521824, abs=1e-6), 1)
    assert exact_interval(0, 0.5).high == pytest.approx(1 - 0.025**2)
    assert math.isnan(exact_interval(0.5, 0).width)


@pytest.mark.parametrize(("rate", "n"), [(-0.1, 5), (1.1, 5), (0.5, -1), (math.nan, 5)])
def test_exact_rejects_what_is_no_rate(rate: Any, n: int) -> None:
    with pytest.raises(RingfenceError, match="the rate must be from 0 to 1"):
        exact_interval(rate, n)


# --- samples clustered by prompt -----------------------------------------------------------------------------


def naive_interval(hits, samples, confidence=0.95):
    """The definition, prompt by prompt, with scipy's distributions and kurtosis."""
    pairs = [(x, m) for x, m in zip(hits, samples, strict=True) if m]
    hits, samples = [x for x, _ in pairs], [m for _, m in pairs]
    n, k, found = sum(samples), len(samples), sum(hits)
    icc = intra_prompt_correlation(hits, samples)
    icc = max(0 if math.isnan(icc) else icc, 1 / (1 + min(found, n - found)))
    least = n**2 / sum(m**2 for m in samples)
    deviations = [x - found / n * m for x, m in pairs]
    outliers = max(0, kurtosis(deviations, bias=False)) if k > 3 and any(deviations) else 0
    df = 2 / (2 / (k - 1) + outliers / k)
    level = (1 + confidence) / 2
    effective = n / (1 + (sum(m**2 for m in samples) / n - 1) * icc) * (norm.ppf(level) / t.ppf(level, df)) ** 2
    effective = min(n, max(least, effective))
    x = found / n * effective
    low = beta.ppf(1 - level, x, effective - x + 1) if found else 0
    return low, beta.ppf(level, x + 1, effective - x) if found < n else 1


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=12).filter(
        lambda pairs: sum(max(pair) > 0 for pair in pairs) > 1
    ),
    st.sampled_from([0.5, 0.95, 0.999]),
)
def test_clustered_is_the_definition(pairs: Any, confidence: Any) -> None:
    hits, samples = [min(pair) for pair in pairs], [max(pair) for pair in pairs]
    interval = clustered_interval(hits, samples, confidence)
    assert (interval.low, interval.high) == pytest.approx(naive_interval(hits, samples, confidence), abs=1e-7)
    assert 0 <= interval.low <= sum(hits) / sum(samples) <= interval.high <= 1


@pytest.mark.parametrize("samples", [1, 100])
def test_no_hits_count_prompts_not_samples(samples: int) -> None:
    """The samples do not say how alike those of one prompt are: none of 5 prompts is 1 - 0.025^(1/5) at most."""
    assert clustered_interval([0] * 5, [samples] * 5) == Interval(0, pytest.approx(0.521824, abs=1e-6))
    assert clustered_interval([samples] * 5, [samples] * 5) == Interval(pytest.approx(1 - 0.521824, abs=1e-6), 1)


def test_prompts_that_are_all_or_nothing_count_as_one_each() -> None:
    """2 of 24 prompts leak always: ICC = 1, and 200 of 2,400 samples are 2 of 24, whatever t says."""
    interval, of_prompts = clustered_interval([100] * 2 + [0] * 22, [100] * 24), exact_interval(2 / 24, 24)
    assert (interval.low, interval.high) == pytest.approx((of_prompts.low, of_prompts.high))


def test_unequal_prompts_by_hand() -> None:
    """0 of 10 samples, 8 of them of one prompt: worth 10^2 / (8^2 + 1 + 1) = 1.515152, so 1 - 0.025^(1/1.515152)."""
    assert clustered_interval([0, 0, 0], [8, 1, 1]).high == pytest.approx(1 - 0.025**0.66)


def test_few_hits_leave_the_correlation_open() -> None:
    """One hit in each of 4 prompts of 10: the estimate is 0, and 4 hits count as 1 / 5. 40 / (1 + 9/5) = 14.285714;
    no prompt deviates, so 3 degrees of freedom: t = 3.182446, (1.959964 / 3.182446)^2 = 0.379292, which leaves
    5.418461."""
    assert intra_prompt_correlation([1] * 4, [10] * 4) == 0
    interval, by_hand = clustered_interval([1] * 4, [10] * 4), exact_interval(0.1, 5.418461)
    assert (interval.low, interval.high) == pytest.approx((by_hand.low, by_hand.high), abs=1e-6)


def test_many_scattered_hits_count_samples() -> None:
    """40,000 samples, half of them hits of each prompt: t with 39 degrees of freedom, 2.0227, and 1 / 20,001 of
    correlation, 1 + 999 / 20,001, are left."""
    interval, independent = clustered_interval([500] * 40, [1000] * 40), wilson(20_000, 40_000)
    assert interval.width == pytest.approx(independent.width * 2.0227 / 1.96 * math.sqrt(1.05), rel=0.01)


@given(st.lists(st.booleans(), min_size=2, max_size=30))
def test_single_samples_are_exact(hits: Any) -> None:
    interval, plain = clustered_interval(hits, [1] * len(hits)), exact_interval(sum(hits) / len(hits), len(hits))
    assert (interval.low, interval.high) == pytest.approx((plain.low, plain.high))


def test_prompts_without_samples_are_not_there() -> None:
    assert clustered_interval([1, 0, 2], [5, 0, 5]) == clustered_interval([1, 2], [5, 5])


@pytest.mark.parametrize(("hits", "samples"), [([], []), ([1], [2]), ([0, 0], [0, 0])])
def test_too_little_data_is_nan(hits: Any, samples: Any) -> None:
    interval = clustered_interval(hits, samples)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


@pytest.mark.parametrize(
    ("hits", "samples", "message"),
    [
        ([1, 2], [1, 2, 3], "numerators are of 2 prompts and denominators of 3"),
        ([[1, 2]], [[1, 2]], r"numerators have shape \(1, 2\)"),
        ([1, -1], [1, 1], "numerators hold a count that is negative"),
        ([1, 3, 2], [1, 1, 1], "2 prompts have more hits than samples"),
        ([1, 1], [1, float("nan")], "denominators hold a count that is negative or not finite"),
    ],
)
def test_bad_counts_are_named(hits: Any, samples: Any, message: str) -> None:
    with pytest.raises(RingfenceError, match=message):
        clustered_interval(hits, samples)


def test_outliers_leave_few_degrees_of_freedom() -> None:
    """1 of 24 deviates: the unbiased kurtosis is 24, so 2 / (2/23 + 24/24) = 1.84; even spread leaves 23."""
    assert degrees_of_freedom(np.eye(24)[0] - 1 / 24) == pytest.approx(2 / (2 / 23 + 1))
    assert degrees_of_freedom(np.linspace(-1, 1, 24)) == 23
    assert degrees_of_freedom(np.zeros(24)) == 23
    assert degrees_of_freedom(np.array([-1.0, 0, 1])) == 2


@pytest.mark.parametrize(
    ("prompts", "samples", "rate", "icc"),
    [(24, 100, 0.05, 0.3), (24, 100, 0.05, 0.05), (8, 50, 0.1, 0.3), (65, 1, 0.05, 0)],
)
def test_coverage(prompts: int, samples: int, rate: float, icc: float) -> None:
    """Of 1,000 data sets with Beta rates at least 94% hold the true rate, less two binomial deviations of 0.75 points.
    Wilson's with the design effect alone held it in 87% of the first and the third kind."""
    generator, spread = np.random.default_rng(19), (1 - icc) / icc if icc else 0.0
    held = 0
    for _ in range(1000):
        rates = generator.beta(rate * spread, (1 - rate) * spread, size=prompts) if icc else rate
        interval = clustered_interval(generator.binomial(samples, rates, size=prompts), [samples] * prompts)
        held += interval.low <= rate <= interval.high
    assert held / 1000 >= 0.94 - 2 * 0.0075


def test_coverage_of_prompts_that_leak_always() -> None:
    """Each of 24 prompts leaks always with a chance of 1 / 12, else never."""
    generator = np.random.default_rng(23)
    held = 0
    for _ in range(1000):
        interval = clustered_interval(100 * (generator.random(24) < 1 / 12), [100] * 24)
        held += interval.low <= 1 / 12 <= interval.high
    assert held / 1000 >= 0.94


def test_the_interval_is_not_absurdly_wide() -> None:
    """With independent samples it is hardly wider than Wilson's, with an ICC of 0.3 by less than half over the design
    effect: 24 x 100 at 20% is 3.2 points and, by 1 + 99 x 0.3 = 30.7, 17.7."""
    generator = np.random.default_rng(29)
    apart = [clustered_interval(generator.binomial(100, 0.2, size=24), [100] * 24).width for _ in range(100)]
    rates = generator.beta(0.2 * 7 / 3, 0.8 * 7 / 3, size=(100, 24))
    alike = [clustered_interval(generator.binomial(100, one), [100] * 24).width for one in rates]
    assert np.mean(apart) < 0.032 * 1.25
    assert np.mean(alike) < 0.177 * 1.35


# --- how many prompts ----------------------------------------------------------------------------------------


@given(limit=st.floats(0.001, 0.9))
def test_prompts_without_exception_are_the_fewest(limit: Any) -> None:
    n = prompts_without_exception(limit)
    assert exact_interval(0, n).high <= limit + 1e-9
    assert n == 1 or exact_interval(0, n - 1).high > limit


def test_prompts_for_known_limits() -> None:
    """ln 0.025 = -3.688879; / ln 0.95 = 71.9, / ln 0.98 = 182.6, / ln 0.99 = 367.04."""
    assert [prompts_without_exception(limit) for limit in (0.05, 0.02, 0.01, 0, 1)] == [72, 183, 368, math.inf, 1]


@pytest.mark.parametrize(("hits", "prompts", "limit"), [(0, 60, 0.05), (1, 65, 0.05), (30, 60, 0.6)])
def test_prompts_needed_reach_the_limit(hits: int, prompts: int, limit: float) -> None:
    rate = hits / prompts
    needed = prompts_needed(rate, exact_interval(rate, prompts).high, prompts, limit)
    assert exact_interval(rate, needed).high <= limit < exact_interval(rate, needed - 1).high
    mirrored = prompts_needed(1 - rate, exact_interval(1 - rate, prompts).low, prompts, 1 - limit)
    assert mirrored == needed


def test_prompts_needed_keep_the_design() -> None:
    """24 x 100 with two prompts that leak always are 2 of 24; so are 24 times as many."""
    bound = clustered_interval([100] * 2 + [0] * 22, [100] * 24).high
    assert prompts_needed(1 / 12, bound, 24, 0.15) == prompts_needed(1 / 12, exact_interval(1 / 12, 24).high, 24, 0.15)


def test_no_number_of_prompts_moves_a_bound_past_the_rate() -> None:
    assert prompts_needed(0.1, 0.2, 30, 0.1) == math.inf
    assert prompts_needed(0.1, 0.2, 30, 0.05) == math.inf
    assert prompts_needed(0.9, 0.8, 30, 0.95) == math.inf


# --- resamples -----------------------------------------------------------------------------------------------


def naive_ratios(hits, samples, resamples, seed):
    """The definition, one resample and one prompt at a time (numpy draws the same numbers in any shape)."""
    generator = np.random.default_rng(seed)
    ratios = []
    for _ in range(resamples):
        drawn = [int(generator.integers(len(hits))) for _ in hits]
        if total := sum(samples[prompt] for prompt in drawn):
            ratios.append(sum(hits[prompt] for prompt in drawn) / total)
    return ratios


@pytest.mark.parametrize("block", [70, 1 << 20])
def test_resampled_ratios_are_the_naive_loop(block: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 10 resamples or one; resamples of the third prompt alone have no denominator and are left out."""
    monkeypatch.setattr(statistics, "_DRAWN_AT_ONCE", block)
    hits, samples = [3, 0, 0, 5, 1, 0, 2], [5, 5, 0, 5, 1, 3, 8]
    found = resampled_ratios(np.array(hits, float), np.array(samples, float), 101, 3)
    assert found == pytest.approx(naive_ratios(hits, samples, 101, 3))
    assert 0 < resampled_ratios(np.array([1.0, 0]), np.array([2.0, 0]), 101, 3).size < 101


def test_percentiles_by_hand() -> None:
    """0 to 4: the middle half is 1 to 3."""
    assert percentile(np.arange(5.0), 0.5) == Interval(1, 3)
    assert percentile(np.array([]), 0.5) is NO_INTERVAL


def test_hull() -> None:
    assert hull(Interval(0.2, 0.3), Interval(0.25, 0.4)) == Interval(0.2, 0.4)
    assert hull(NO_INTERVAL, Interval(0.2, 0.3)) == hull(Interval(0.2, 0.3), NO_INTERVAL) == Interval(0.2, 0.3)
    assert math.isnan(hull(NO_INTERVAL, NO_INTERVAL).width)


# --- intra-prompt correlation -------------------------------------------------------------------------------


def test_intra_prompt_correlation_by_hand() -> None:
    """3 of 4, 1 of 4, 0 of 2: p = 0.4. MSB = (4 x 0.35^2 + 4 x 0.15^2 + 2 x 0.4^2) / 2 = 0.45; MSW = (0.75 + 0.75 + 0)
    / 7 = 0.214286; m0 = (10 - 36/10) / 2 = 3.2; 0.235714 / (0.45 + 2.2 x 0.214286) = 0.255814."""
    assert intra_prompt_correlation([3, 1, 0], [4, 4, 2]) == pytest.approx(0.255814, abs=1e-6)


def test_intra_prompt_correlation_is_that_of_pairs() -> None:
    """With equal prompts it is the analysis of variance of the single samples, as scipy does it."""
    hits, m = [7, 2, 0, 5, 9, 1], 10
    groups = [[1] * hit + [0] * (m - hit) for hit in hits]
    f = f_oneway(*groups).statistic
    assert intra_prompt_correlation(hits, [m] * 6) == pytest.approx((f - 1) / (f + m - 1))


def test_intra_prompt_correlation_of_simulated_prompts() -> None:
    """Beta(a, b) rates have ICC 1 / (a + b + 1): here 1 / 4."""
    generator = np.random.default_rng(23)
    samples = generator.integers(2, 30, size=4000)
    hits = generator.binomial(samples, generator.beta(1, 2, size=4000))
    assert intra_prompt_correlation(hits, samples) == pytest.approx(0.25, abs=0.02)


def test_extremes_of_the_intra_prompt_correlation() -> None:
    assert intra_prompt_correlation([5, 0, 5], [5, 5, 5]) == pytest.approx(1)
    assert intra_prompt_correlation([2, 2, 2], [4, 4, 4]) == 0  # the estimate is -1/3


@pytest.mark.parametrize(
    ("hits", "samples"), [([], []), ([1], [2]), ([1, 0], [2, 0]), ([0, 1], [1, 1]), ([0, 0], [5, 5]), ([5, 5], [5, 5])]
)
def test_no_intra_prompt_correlation_is_nan(hits: Any, samples: Any) -> None:
    assert math.isnan(intra_prompt_correlation(hits, samples))


# --- one prompt's part --------------------------------------------------------------------------------------


def test_leave_one_prompt_out_by_hand() -> None:
    """3 of 4, 0 of 4, 1 of 2: 4/10 in all, without them 1/6, 4/6 and 3/8."""
    hits, samples = [3, 0, 1], [4, 4, 2]
    assert leave_one_prompt_out(hits, samples) == pytest.approx([1 / 6, 4 / 6, 3 / 8])
    assert influence(hits, samples) == pytest.approx([0.4 - 1 / 6, 0.4 - 4 / 6, 0.4 - 3 / 8])


def test_nothing_is_left_of_one_prompt() -> None:
    assert np.isnan(leave_one_prompt_out([1], [2])).all()
    assert np.isnan(influence([1, 0], [2, 0]))[0]
    assert influence([1, 0], [2, 0])[1] == 0
    assert np.isnan(influence([0, 0], [0, 0])).all()
    assert influence([], []).shape == (0,)
