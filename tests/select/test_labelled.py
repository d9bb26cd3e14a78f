"""Quotas against a naive largest remainder, and labels that are missing."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candidates import Table, candidate
from ringfence.core.errors import RingfenceError
from ringfence.select.labelled import before_and_after, labels, quotas

SIZES = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 40), min_size=1)


def naive(sizes, count):
    """Whole shares first; then one row at a time to whom lacks the most."""
    total = sum(sizes.values())
    exact = {name: Fraction(size * count, total) for name, size in sizes.items()}
    found = {name: int(share) for name, share in exact.items()}
    while sum(found.values()) < count:
        name = min(sizes, key=lambda name: (found[name] - exact[name], -sizes[name], name))
        found[name] += 1
    return found


@pytest.mark.parametrize(
    ("sizes", "count", "expected"),
    [
        ({"a": 6, "b": 3, "c": 1}, 5, {"a": 3, "b": 2, "c": 0}),  # 3, 1.5, 0.5: the larger of equal remainders
        ({"a": 5, "b": 5}, 3, {"a": 2, "b": 1}),  # by name
        ({"a": 1, "b": 1, "c": 1}, 2, {"a": 1, "b": 1, "c": 0}),
        ({"a": 7, "b": 0}, 7, {"a": 7}),
        ({"a": 7}, 0, {"a": 0}),
        ({}, 0, {}),
    ],
)
def test_by_hand(sizes: Any, count: int, expected: Any) -> None:
    assert quotas(sizes, count) == expected


@pytest.mark.parametrize(
    ("sizes", "count", "expected"),
    [
        ({"a": 6, "b": 3, "c": 1}, 5, {"a": 3, "b": 1, "c": 1}),  # c gets one; 4 * 6 / 9 = 2.67 and 1.33
        ({"a": 98, "b": 1, "c": 1}, 4, {"a": 2, "b": 1, "c": 1}),
        ({"a": 98, "b": 1, "c": 1}, 3, {"a": 1, "b": 1, "c": 1}),
        ({"a": 98, "b": 1, "c": 1}, 2, {"a": 2, "b": 0, "c": 0}),  # fewer rows than domains
    ],
)
def test_at_least_one_by_hand(sizes: Any, count: int, expected: Any) -> None:
    assert quotas(sizes, count, at_least_one=True) == expected


@given(SIZES, st.data(), st.booleans())
def test_quotas_add_up_and_no_domain_is_overdrawn(sizes: Any, data: Any, at_least_one: Any) -> None:
    count = data.draw(st.integers(0, sum(sizes.values())))
    found = quotas(sizes, count, at_least_one)
    assert set(found) == set(sizes)
    assert sum(found.values()) == count
    assert all(0 <= found[name] <= size for name, size in sizes.items())
    if at_least_one and count >= len(sizes):
        assert min(found.values()) >= 1
    assert quotas(dict(reversed(sizes.items())), count, at_least_one) == found


@given(SIZES, st.data())
def test_quotas_are_the_naive_ones(sizes: Any, data: Any) -> None:
    count = data.draw(st.integers(0, sum(sizes.values())))
    assert quotas(sizes, count) == naive(sizes, count)


@pytest.mark.parametrize("count", [-1, 4])
def test_more_rows_than_there_are_raise(count: int) -> None:
    with pytest.raises(RingfenceError, match="ask for 0 to 3"):
        quotas({"a": 2, "b": 1}, count)


def test_labels() -> None:
    table = Table([candidate(0, domain="art"), candidate(1, domain="work")])
    assert labels(table, "domain") == ["art", "work"]
    assert labels(table, None) == ["all", "all"]


@pytest.mark.parametrize("lacking", [{}, {"domain": " "}])
def test_a_row_without_a_label_raises_with_the_first_origin(lacking: Any) -> None:
    rows = [candidate(0, domain="art"), candidate(1, **lacking), candidate(2)]
    with pytest.raises(RingfenceError, match=r"; label every row, or sing$"):
        labels(Table(rows), "domain", "sing")
    with pytest.raises(RingfenceError, match=r"^pool.jsonl:2: has no 'domain', nor have 1 of 3 rows.*by: null"):
        labels(Table(rows), "domain")


def test_before_and_after() -> None:
    assert before_and_after(["b", "a", "b"], [0]) == {"a": {"before": 1, "after": 0}, "b": {"before": 2, "after": 1}}
