"""Differences over seeds, against hand-worked numbers and on simulated seeds."""

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from ringfence.core.comparisons import paired_difference
from ringfence.core.errors import RingfenceError
from ringfence.core.seed_differences import seed_difference
from ringfence.core.seeds import mean_interval, variance

A = np.array([[8, 2, 5, 0], [6, 4, 7, 1], [9, 1, 6, 2]])  # 3 seeds, 4 prompts, of 10 samples
B = np.array([[3, 1, 2, 0], [5, 0, 1, 1], [2, 2, 3, 0]])
TEN = np.full_like(A, 10)


def test_value_is_the_mean_over_seeds_and_prompts() -> None:
    """A has 51 of 120 and B 20 of 120."""
    found = seed_difference((A, TEN), (B, TEN))
    assert found.value == pytest.approx(31 / 120)
    assert found.n == 4
    assert found.low < found.value < found.high


def test_seeds_weigh_the_same_whatever_their_samples() -> None:
    """One prompt: a's rates are 1/1 and 0/9, mean 0.5, though 1 of 10 samples hits."""
    found = seed_difference(([[1], [0]], [[1], [9]]), ([[0], [0]], [[5], [5]]))
    assert found.value == 0.5
    assert math.isnan(found.low)  # one prompt


def test_the_interval_by_hand() -> None:
    """Prompts agree, so only seeds vary: V = (0.04 + 0.01) / 3 = 1 / 60, worth 0.05^2 / (0.04^2 / 2 + 0.01^2 / 2) =
    2.94 degrees of freedom. Square-and-add of the two rates' own bounds reaches further down, that further up."""
    one, other, ten = np.repeat([[4], [6], [8]], 5, axis=1), np.repeat([[1], [2], [3]], 5, axis=1), np.full((3, 5), 10)
    of_one, of_other = (mean_interval(mean, variance(x / 10), 0.95) for mean, x in ((0.6, one), (0.2, other)))
    found = seed_difference((one, ten), (other, ten))
    assert found.low == pytest.approx(0.4 - math.hypot(0.6 - of_one.low, of_other.high - 0.2))
    assert found.high == pytest.approx(0.4 + t.ppf(0.975, 0.0025 / 0.00085) * math.sqrt(1 / 60))
    assert 0.4 + math.hypot(of_one.high - 0.6, 0.2 - of_other.low) < found.high


def test_p_and_interval_agree() -> None:
    for confidence in (0.5, 0.9, 0.99):
        found = seed_difference((A, TEN), (B, TEN), confidence=confidence)
        assert (found.low > 0) == (found.p < 1 - confidence)
    assert found.p == max(found.p_prompts, found.p_seeds)


def test_few_seeds_that_differ_cannot_make_p_small() -> None:
    """On 200 prompts of 100 samples nothing but the seeds is in doubt: 0.5, 0.6, 0.7 against 0.2, 0.3, 0.4. A t-test of
    three against three says 0.021."""
    one, other = (np.repeat([[at], [at + 10], [at + 20]], 200, axis=1) for at in (50, 20))
    hundred = np.full((3, 200), 100)
    found = seed_difference((one, hundred), (other, hundred))
    assert found.p_prompts < 1e-4
    assert 0.005 < found.p == found.p_seeds < 0.1


@pytest.mark.parametrize("paired", [True, False])
def test_equal_rates_of_unequal_seeds_are_no_difference(paired: bool) -> None:
    """3 seeds a variant, 24 prompts x 10 samples at 50%; one variant's seeds are alike, the other's normal, sd 0.15.
    At most 5% of 200 data sets may have p <= 5%, plus two binomial deviations."""
    generator, spreads, found = np.random.default_rng(3), (0.0, 0.15), 0
    ten = np.full((3, 24), 10)
    for _ in range(200):
        prompts = generator.beta(2, 2, size=24)
        a, b = (generator.binomial(10, np.clip(prompts + sd * generator.normal(size=(3, 1)), 0, 1)) for sd in spreads)
        found += seed_difference((a, ten), (b, ten), paired).p <= 0.05
    assert found / 200 <= 0.05 + 2 * 0.0154


def test_seeds_that_move_together_are_taken_together() -> None:
    """Every seed is 0.3 higher in a, and seeds differ much: in pairs that is certain, else it is not."""
    seeds = np.array([[0], [3], [6]]) + np.zeros((3, 20), int)
    a, b, ten = seeds + 3, seeds, np.full((3, 20), 10)
    together, apart = (seed_difference((a, ten), (b, ten), paired=paired) for paired in (True, False))
    assert together.low > 0
    assert apart.low < 0
    assert together.value == apart.value == pytest.approx(0.3)


def test_never_narrower_than_over_prompts() -> None:
    """No seed has a hit: nothing is seen of the seeds' spread, and the prompts are what is left."""
    zeros, ten = np.zeros((2, 5), int), np.full((2, 5), 10)
    found = seed_difference((zeros, ten), (zeros, ten))
    pooled = paired_difference([0] * 5, [20] * 5, [0] * 5, [20] * 5)
    assert (found.low, found.high) == pytest.approx((pooled.low, pooled.high))
    assert found.high > 0.1
    assert found.p == 1


def test_without_prompts_there_is_nothing() -> None:
    empty = np.zeros((2, 0))
    found = seed_difference((empty, empty), (empty, empty))
    assert found.n == 0
    assert all(math.isnan(one) for one in (found.value, found.low, found.high, found.p))


@pytest.mark.parametrize(
    ("a", "b", "paired", "problem"),
    [
        ((A[:1], TEN[:1]), (B, TEN), False, "variant a has 1 seeds: nothing is known over seeds"),
        ((A, TEN), (B[:1], TEN[:1]), False, "variant b has 1 seeds"),
        ((A, TEN), (B[:2], TEN[:2]), True, "they are no pairs"),
        ((A, TEN), (B[:, :3], TEN[:, :3]), False, "4 prompts and variant b 3"),
        (([[0, 1], [1, 1]], [[0, 2], [1, 2]]), ([[1, 1]] * 2, [[2, 2]] * 2), False, "1 of 2 prompts have no samples"),
        ((A[0], TEN[0]), (B, TEN), False, "seeds x prompts are wanted"),
    ],
)
def test_bad_input_is_named(a: Any, b: Any, paired: bool, problem: str) -> None:
    with pytest.raises(RingfenceError, match=problem):
        seed_difference(a, b, paired)
