"""Differences by hand and against naive loops; corrections against closed testing; power by simulation."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from ringfence.core.comparisons import (
    LEAST_P,
    Difference,
    add_distances,
    benjamini_hochberg,
    holm,
    minimum_detectable_difference,
    p_value,
    paired_difference,
    square_and_add,
)
from ringfence.core.errors import RingfenceError
from ringfence.core.statistics import Interval, exact_interval

# --- paired difference --------------------------------------------------------------------------------------


def test_the_value_is_the_mean_over_prompts() -> None:
    """1/2 - 0/2 and 9/90 - 0/10: (0.5 + 0.1) / 2 = 0.3; the pooled rates, 10/92 and 0/12, differ by 0.109."""
    assert paired_difference([1, 9], [2, 90], [0, 0], [2, 10]).value == pytest.approx(0.3)


def test_prompts_with_unequal_samples_are_no_difference() -> None:
    """Both runs have 1 in 2 on the first prompt and 1 in 10 on the second; pooled, 0.467 and 0.133."""
    difference = paired_difference([50, 1], [100, 10], [5, 10], [10, 100])
    assert (difference.value, difference.p) == (0, 1)
    assert -difference.low == pytest.approx(difference.high)


def test_exchanging_the_runs_mirrors_all() -> None:
    counts = [7, 1, 3, 9, 0, 2], [10] * 6, [2, 1, 1, 4, 3, 0], [10] * 6
    one, other = paired_difference(*counts), paired_difference(*counts[2:], *counts[:2])
    assert (other.value, other.n) == (-one.value, 6)
    assert (-other.high, -other.low, other.p) == pytest.approx((one.low, one.high, one.p), abs=1e-9)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
def test_p_and_interval_agree(confidence: float) -> None:
    """p is where the interval first leaves out 0: below 1 - confidence if and only if that interval does."""
    generator = np.random.default_rng(3)
    seen = set()
    for shift in (0.0, 0.02, 0.1, 0.3, 0.6):
        b = generator.binomial(20, 0.2, size=12)
        a = np.minimum(20, b + generator.binomial(20, shift, size=12))
        difference = paired_difference(a, [20] * 12, b, [20] * 12, confidence)
        outside = difference.low > 0 or difference.high < 0
        assert outside == (difference.p < 1 - confidence)
        seen.add(outside)
    assert seen == {True, False}


def test_p_of_a_normal_interval() -> None:
    """2.5 -+ z: p is twice the tail above 2.5; no p is below the least, and without a difference it is 1."""

    def around(middle):
        return lambda confidence: Interval(
            middle - norm.ppf((1 + confidence) / 2), middle + norm.ppf((1 + confidence) / 2)
        )

    assert p_value(around(2.5)) == p_value(around(-2.5)) == pytest.approx(2 * norm.sf(2.5), rel=1e-6)
    assert p_value(around(0)) == 1
    assert p_value(around(9)) == LEAST_P


def test_pairing_narrows_the_interval() -> None:
    """The prompts' rates spread from 0 to 1 and run a is 0.1 above run b on each but for the noise of 100 samples."""
    generator, rates = np.random.default_rng(11), np.linspace(0.05, 0.85, 30)
    a, b = generator.binomial(100, rates + 0.1), generator.binomial(100, rates)
    paired, broken = (paired_difference(x, [100] * 30, b, [100] * 30) for x in (a, generator.permutation(a)))
    assert paired.low <= 0.1 <= paired.high
    assert paired.high - paired.low < (broken.high - broken.low) / 2


def test_no_hits_in_either_run_is_not_certainty() -> None:
    """5 prompts without a hit are up to 0.521824 in each run, whatever the samples; the arms are sqrt(0 + u^2)."""
    difference = paired_difference([0] * 5, [50] * 5, [0] * 5, [50] * 5)
    assert difference == Difference(0, pytest.approx(-0.521824, abs=1e-6), pytest.approx(0.521824, abs=1e-6), 1, 5)


def test_newcombes_interval_by_hand() -> None:
    """Single samples, 3 hits of 4 and 0 of 4, so no correlation: the arms are those of two exact intervals."""
    of_a, of_b = exact_interval(0.75, 4), exact_interval(0, 4)
    difference = paired_difference([1, 1, 1, 0], [1] * 4, [0] * 4, [1] * 4)
    assert difference.low == pytest.approx(0.75 - math.hypot(0.75 - of_a.low, of_b.high))
    assert difference.high == pytest.approx(0.75 + (of_a.high - 0.75))


def test_newcombes_interval_with_correlation() -> None:
    """Hits 1110 and 1100: each variance is 3/16 and 1/4, covariance 1/2 - 3/8, so r = 1/8 / sqrt(3/64) = 0.57735."""
    of_a, of_b, r = exact_interval(0.75, 4), exact_interval(0.5, 4), 1 / math.sqrt(3)
    down, up = (0.75 - of_a.low, of_b.high - 0.5), (of_a.high - 0.75, 0.5 - of_b.low)
    difference = paired_difference([1, 1, 1, 0], [1] * 4, [1, 1, 0, 0], [1] * 4)
    arms = [math.sqrt(x * x + y * y - 2 * r * x * y) for x, y in (down, up)]
    assert (difference.low, difference.high) == pytest.approx((0.25 - arms[0], 0.25 + arms[1]))


def test_four_rates_add_with_their_correlations() -> None:
    """a - b - c + d, all 5 of 10 single samples at the distance d. Where all hit the same prompts the signed distances
    cancel; where a hits the others, it is (d + d - d + d)^2 under the root, 2 d."""
    half, signs, ones = np.array([1.0] * 5 + [0.0] * 5), np.array([1.0, -1, -1, 1]), np.ones((10, 4))
    d = 0.5 - exact_interval(0.5, 10).low
    same = square_and_add(np.stack([half] * 4, axis=1), ones, signs)(0.95)
    assert (same.low, same.high) == pytest.approx((0, 0), abs=1e-7)
    other = square_and_add(np.stack([1 - half, half, half, half], axis=1), ones, signs)(0.95)
    assert (other.low, other.high) == pytest.approx((-2 * d, 2 * d))


def test_distances_stay_within_what_rates_can_be() -> None:
    found = add_distances(np.array([0.9, 0.1]), [Interval(0.0, 1.0)] * 2, np.zeros((2, 2)), np.array([1.0, -1.0]))
    assert found == Interval(pytest.approx(0.8 - math.hypot(0.9, 0.9)), pytest.approx(0.8 + math.hypot(0.1, 0.1)))
    found = add_distances(np.array([0.9, 0.1]), [Interval(0.0, 1.0)] * 2, -np.ones((2, 2)), np.array([1.0, -1.0]))
    assert found == Interval(-1, 1)


SPREADS = [(0.0, 0.3), (0.0, "always"), (0.05, 0.3), (0.1, 0.1)]


@pytest.mark.parametrize("spreads", SPREADS)
@pytest.mark.parametrize(("prompts", "samples", "rate"), [(24, 100, 0.05), (8, 50, 0.05)])
def test_equal_rates_of_unequal_spread_are_no_difference(spreads: Any, prompts: int, samples: int, rate: float) -> None:
    """Both runs have the rate; ICC 0 is the same on every prompt, "always" all or nothing. At most 5% of 300 data sets
    may have p <= 5%, plus two binomial deviations. The sign-flip test found a difference in up to 67% of them."""
    generator, found = np.random.default_rng(7), 0

    def run(icc):
        if icc == "always":
            return samples * (generator.random(prompts) < rate)
        scale = (1 - icc) / icc if icc else 0.0
        return generator.binomial(
            samples, generator.beta(rate * scale, (1 - rate) * scale, size=prompts) if icc else np.full(prompts, rate)
        )

    for _ in range(300):
        found += paired_difference(*(x for icc in spreads for x in (run(icc), [samples] * prompts))).p <= 0.05
    assert found / 300 <= 0.05 + 2 * 0.0126


def test_what_differs_is_found() -> None:
    """24 x 100 at 10% and 20% with an ICC of 0.02: the z-test finds it in 97%, ours in four of five at least."""
    generator, found = np.random.default_rng(7), 0
    for _ in range(200):
        a, b = (generator.binomial(100, generator.beta(49 * p, 49 * (1 - p), size=24)) for p in (0.2, 0.1))
        found += paired_difference(a, [100] * 24, b, [100] * 24).p <= 0.05
    assert found / 200 >= 0.8


def test_coverage_of_rare_hits() -> None:
    """24 prompts x 100 samples, rates Beta with means 0.03 and 0.01 and an ICC of 0.3, drawn apart: at least 94% of 300
    data sets hold 0.02. A bootstrap over prompts did so in 82%."""
    generator, spread = np.random.default_rng(13), (1 - 0.3) / 0.3
    held = 0
    for _ in range(300):
        hits = [generator.binomial(100, generator.beta(mu * spread, (1 - mu) * spread, size=24)) for mu in (0.03, 0.01)]
        difference = paired_difference(hits[0], [100] * 24, hits[1], [100] * 24)
        held += difference.low <= 0.02 <= difference.high
    assert held / 300 >= 0.94


def test_one_prompt_has_a_value_and_no_bounds() -> None:
    difference = paired_difference([3], [4], [1], [4])
    assert (difference.value, difference.n) == (0.5, 1)
    assert all(map(math.isnan, (difference.low, difference.high, difference.p)))


def test_no_prompts_is_nan() -> None:
    difference = paired_difference([], [], [], [])
    assert all(map(math.isnan, (difference.value, difference.low, difference.high, difference.p)))
    assert difference.n == 0


def test_missing_prompts_are_counted() -> None:
    with pytest.raises(RingfenceError, match="2 of 3 prompts have no samples in one of the runs"):
        paired_difference([0, 1, 1], [0, 2, 2], [0, 0, 1], [2, 0, 2])
    with pytest.raises(RingfenceError, match="run a has 2 prompts and run b 1"):
        paired_difference([1, 1], [2, 2], [1], [2])


def test_swapped_counts_raise() -> None:
    with pytest.raises(RingfenceError, match="1 prompts have more hits than samples"):
        paired_difference([5, 1], [1, 5], [1, 1], [5, 5])


# --- many comparisons ---------------------------------------------------------------------------------------

P_VALUES = st.lists(st.floats(0, 1) | st.sampled_from([0.01, 0.04, 0.05]), min_size=1, max_size=6)


def test_holm_by_hand() -> None:
    """Sorted 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.04 x 1 are 0.04, 0.06, 0.06, 0.04; the last may not fall below 0.06."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])


@given(P_VALUES)
def test_holm_is_closed_testing(p_values: Any) -> None:
    """A hypothesis is as doubtful as the most doubtful set that holds it; a set's p is its least times its size."""
    expected = [
        max(
            min(1, size * min(p_values[i] for i in chosen))
            for size in range(1, len(p_values) + 1)
            for chosen in itertools.combinations(range(len(p_values)), size)
            if hypothesis in chosen
        )
        for hypothesis in range(len(p_values))
    ]
    assert holm(p_values) == pytest.approx(expected, abs=1e-12)


def test_benjamini_hochberg_by_hand() -> None:
    """Sorted 0.01 x 4/1, 0.02 x 4/2, 0.03 x 4/3, 0.04 x 4/4 are all 0.04."""
    assert benjamini_hochberg([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.04] * 4)
    assert benjamini_hochberg([0.5, 0.001, 0.04]) == pytest.approx([0.5, 0.003, 0.06])


@given(P_VALUES, st.floats(0.01, 0.5))
def test_benjamini_hochberg_is_the_step_up_procedure(p_values: Any, alpha: Any) -> None:
    """Reject the k smallest, for the largest k whose k-th smallest is at most alpha k / m."""
    m, ordered = len(p_values), sorted(p_values)
    rejected = max((k for k in range(1, m + 1) if ordered[k - 1] <= alpha * k / m), default=0)
    adjusted = benjamini_hochberg(p_values)
    near = np.abs(adjusted - alpha) < 1e-9  # rounding decides
    assert near.any() or int(np.sum(adjusted <= alpha)) == rejected


@pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
def test_nan_stays_and_is_not_counted(correct: Any) -> None:
    without = correct([0.01, 0.03])
    assert correct([math.nan, 0.01, math.nan, 0.03]) == pytest.approx(
        [math.nan, *[*without[:1]], math.nan, without[1]], nan_ok=True
    )
    assert np.isnan(correct([math.nan])).all()
    assert correct([]).shape == (0,)


@pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
def test_corrections_leave_their_input_alone(correct: Any) -> None:
    given_ = np.array([0.2, 0.01])
    correct(given_)
    assert given_.tolist() == [0.2, 0.01]


@pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
def test_what_is_no_p_value_raises(correct: Any) -> None:
    with pytest.raises(RingfenceError, match=r"p-value 1 is 1\.5"):
        correct([0.5, 1.5])
    with pytest.raises(RingfenceError, match=r"shape \(1, 2\)"):
        correct([[0.5, 0.5]])


# --- minimum detectable difference --------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "icc", "power", "confidence"), [(0.02, 0, 0.8, 0.95), (0.3, 0.1, 0.9, 0.99)])
def test_it_needs_the_samples_of_the_textbook(rate: float, icc: float, power: float, confidence: float) -> None:
    """n a run = (z sqrt(2 p (1 - p)) + z' sqrt(p1 (1 - p1) + p2 (1 - p2)))^2 / d^2 x design effect (Fleiss)."""
    d = minimum_detectable_difference(24, 100, rate, icc, power, confidence)
    middle, other = rate + d / 2, rate + d
    needed = norm.ppf((1 + confidence) / 2) * math.sqrt(2 * middle * (1 - middle))
    needed += norm.ppf(power) * math.sqrt(rate * (1 - rate) + other * (1 - other))
    assert (needed / d) ** 2 * (1 + 99 * icc) == pytest.approx(2400, rel=1e-4)


@pytest.mark.parametrize("same_prompts", [False, True])
def test_it_is_found_with_that_power(same_prompts: bool) -> None:
    """60 prompts x 10 samples whose rates are 0.2 -+ 0.19, each with probability 1/2: ICC = 0.19^2 / (0.2 x 0.8). The
    second run has the same ICC, on the same prompts or on others. The z-test knows the design. 4,000 pairs of runs:
    binomial sd 0.6 points, and a sum of binomials is a little off the normal."""
    generator, k, m, rate = np.random.default_rng(17), 60, 10, 0.2
    s = 0.19
    icc = s * s / (rate * (1 - rate))
    d = minimum_detectable_difference(k, m, rate, icc, pairing=1.0 if same_prompts else 0.0)
    other_s = math.sqrt(icc * (rate + d) * (1 - rate - d))
    sides = generator.choice([-1, 1], size=(4000, k))
    others = sides if same_prompts else generator.choice([-1, 1], size=(4000, k))
    a = generator.binomial(m, rate + s * sides).mean(axis=1) / m
    b = generator.binomial(m, rate + d + other_s * others).mean(axis=1) / m
    middle = rate + d / 2
    unit = (1 + (m - 1) * icc) / (k * m) - (icc / k if same_prompts else 0)
    found = np.abs(b - a) > norm.ppf(0.975) * math.sqrt(2 * middle * (1 - middle) * unit)
    assert np.mean(found) == pytest.approx(0.8, abs=0.025)


def test_more_of_anything_finds_less() -> None:
    base = minimum_detectable_difference(24, 100, 0.05, 0.2)
    assert minimum_detectable_difference(48, 100, 0.05, 0.2) < base
    assert minimum_detectable_difference(24, 200, 0.05, 0.2) < base
    assert minimum_detectable_difference(24, 100, 0.05, 0.1) < base
    assert minimum_detectable_difference(24, 100, 0.05, 0.2, pairing=0.5) < base
    assert minimum_detectable_difference(24, 100, 0.05, 0.2, power=0.9) > base


def test_samples_of_prompts_that_agree_are_worth_one() -> None:
    assert minimum_detectable_difference(200, 50, 0.1, 1) == pytest.approx(
        minimum_detectable_difference(200, 1, 0.1, 0)
    )


def test_nothing_that_small_a_design_can_find_is_nan() -> None:
    """2 prompts, 1 sample each: even 0 of 2 against 2 of 2 has z = 2 with sd 1/2, found about half of the time."""
    assert math.isnan(minimum_detectable_difference(2, 1, 0.9, 0))
    assert math.isnan(minimum_detectable_difference(24, 100, 1, 0))


def test_what_is_unknown_is_nan() -> None:
    assert math.isnan(minimum_detectable_difference(24, 100, math.nan, 0.1))
    assert math.isnan(minimum_detectable_difference(24, 100, 0.1, math.nan))


def test_nothing_varies() -> None:
    """Every answer to a prompt is the same, in both runs alike: any difference is one of the runs."""
    assert minimum_detectable_difference(24, 100, 0.1, 1, pairing=1) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_prompts": 0}, "0 prompts x 10 samples"),
        ({"samples": 0.5}, "24 prompts x 0.5 samples"),
        ({"rate": 1.5}, "rate is 1.5"),
        ({"intra_prompt_correlation": -0.1}, "ICC is -0.1"),
        ({"pairing": 2}, "pairing is 2"),
        ({"power": 0.05}, "power is 0.05"),
        ({"power": 1}, "power is 1"),
        ({"confidence": 95}, "confidence is 95"),
    ],
)
def test_an_impossible_design_raises(arguments: Any, message: str) -> None:
    with pytest.raises(RingfenceError, match=message):
        minimum_detectable_difference(
            **{"n_prompts": 24, "samples": 10, "rate": 0.1, "intra_prompt_correlation": 0} | arguments
        )
