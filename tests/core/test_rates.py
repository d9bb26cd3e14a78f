"""Rates: their difference, and the way into a file and back."""

import json
import math

import pandas as pd
import pytest

from ringfence.core.comparisons import paired_difference
from ringfence.core.rates import Rate, as_rows, from_rows


def test_a_difference_adds_the_distances_like_standard_errors() -> None:
    """0.5 - 0.2; below sqrt(0.3^2 + 0.4^2) = 0.5, above sqrt(0.12^2 + 0.05^2) = 0.13."""
    found = Rate(0.5, 0.2, 0.62, 20) - Rate(0.2, 0.15, 0.6, 10)
    assert (found.value, found.low, found.high) == pytest.approx((0.3, -0.2, 0.43))
    assert math.isnan(found.n)


def test_gap_without_bounds_keeps_its_value() -> None:
    gap = Rate(0.5) - Rate(0.2, 0.1, 0.3)
    assert gap.value == pytest.approx(0.3)
    assert math.isnan(gap.low)
    assert math.isnan(gap.high)


def test_into_a_file_and_back() -> None:
    rates = {("general", "misaligned_all"): Rate(0.25, 0.1, 0.5, 8), ("in-domain", "incoherent"): Rate(1, 0.6, 1, 5)}
    rows = as_rows(rates)
    assert [list(row) for row in rows] == [["suite", "metric", "value", "low", "high", "n"]] * 2
    again = pd.DataFrame(json.loads(json.dumps(rows)))
    assert from_rows(again.itertuples(index=False)) == rates
    assert as_rows({}) == []


def test_of_whatever_has_the_four_numbers() -> None:
    found = paired_difference([3, 1], [10, 10], [5, 5], [10, 10])
    assert Rate.of(found) == Rate(found.value, found.low, found.high, found.n)
    assert all(math.isnan(value) for value in vars(Rate()).values()), "without data nothing reads as safe"
