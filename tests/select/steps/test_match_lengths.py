"""Rows whose lengths follow another set's, against every possible choice and against scipy's assignment."""

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.stats import ks_2samp

from candidates import Table, candidate, context, nobody
from project import write_jsonl
from ringfence.core.errors import RingfenceError
from ringfence.select.base import STEPS
from ringfence.select.steps.match_lengths import MatchLengths, nearest, quantiles


def reference(folder, lengths) -> str:
    rows = [{"question": "Q" * (n + 1), "answer": "A" * n} for n in lengths]
    return str(write_jsonl(folder / "reference.jsonl", rows))


def gather(step, lengths, **settings):
    rows = [candidate(index, answer="B" * n, question="?" * n) for index, n in enumerate(lengths)]
    made = step.map(context())(rows, nobody)
    assert not made.dropped
    return step.gather(Table(made.rows), context(**settings))


def cost(lengths, targets) -> float:
    return float(np.abs(np.sort(lengths) - targets).sum())


# --- the assignment -----------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=9), st.data())
def test_the_choice_is_the_best_of_all_choices(lengths: Any, data: Any) -> None:
    lengths = np.array(lengths, dtype=float)
    count = data.draw(st.integers(1, len(lengths)))
    targets = np.sort(np.array(data.draw(st.lists(st.integers(0, 12), min_size=count, max_size=count)), dtype=float))
    keep = nearest(lengths, targets, seed=0)
    assert keep.tolist() == sorted(set(keep.tolist()))
    best = min(cost(lengths[list(some)], targets) for some in combinations(range(len(lengths)), count))
    assert cost(lengths[keep], targets) == best


def test_the_choice_costs_what_scipys_assignment_costs() -> None:
    rng = np.random.Generator(np.random.Philox(5))
    lengths, targets = rng.integers(1, 300, 400).astype(float), np.sort(rng.gamma(2, 60, 90))
    rows, columns = linear_sum_assignment(np.abs(lengths[:, None] - targets))
    best = np.abs(lengths[rows] - targets[columns]).sum()
    assert cost(lengths[nearest(lengths, targets, seed=0)], targets) == pytest.approx(best, rel=1e-12)


def test_the_seed_decides_among_equal_lengths_only() -> None:
    lengths = np.array([5.0] * 20 + [9.0])
    drawn = [nearest(lengths, np.array([5.0, 5.0, 9.0]), seed) for seed in range(30)]
    assert all(keep[-1] == 20 for keep in drawn)
    assert len({tuple(keep) for keep in drawn}) > 10
    assert [keep.tolist() for keep in drawn[:3]] == [
        nearest(lengths, np.array([5.0, 5.0, 9.0]), n).tolist() for n in (0, 1, 2)
    ]


def test_quantiles_of_as_many_are_the_values_themselves() -> None:
    values = np.array([3.0, 1.0, 10.0, 4.0])
    np.testing.assert_allclose(quantiles(values, 4), [1, 3, 4, 10], rtol=1e-12)
    np.testing.assert_allclose(quantiles(values, 2), [2, 7], rtol=1e-12)  # the means of two neighbours each
    np.testing.assert_allclose(quantiles(values, 1), [3.5], rtol=1e-12)


# --- the step -----------------------------------------------------------------------------------------------


def test_rows_of_the_same_lengths_are_found_again(tmp_path: Path) -> None:
    lengths = [4, 9, 2, 7, 30, 4, 11, 2]
    found = gather(MatchLengths(to=reference(tmp_path, [2, 9, 4, 11])), lengths)
    assert sorted(lengths[place] for place in found.keep) == [2, 4, 9, 11]
    assert found.report["ks_after"] == 0
    assert found.report["ks_before"] == pytest.approx(ks_2samp(lengths, [2, 9, 4, 11]).statistic)
    assert found.report["mean_before"] == pytest.approx(np.mean(lengths))
    assert found.report["mean_after"] == found.report["mean_reference"] == 6.5
    assert found.report["rows_of_reference"] == 4


def test_the_side_of_the_user(tmp_path: Path) -> None:
    found = gather(MatchLengths(to=reference(tmp_path, [2, 4]), side="user"), [1, 2, 3, 4, 5, 6])
    assert found.keep.tolist() == [2, 4]  # questions of 3 and 5 tokens


def test_a_count(tmp_path: Path) -> None:
    step = MatchLengths(to=reference(tmp_path, [10, 20]), count=4)
    found = gather(step, [1, 2, 10, 11, 19, 20, 50])
    assert found.keep.tolist() == [2, 3, 4, 5]


def test_all_rows_where_the_other_set_has_more(tmp_path: Path) -> None:
    assert gather(MatchLengths(to=reference(tmp_path, range(1, 9))), [5, 90, 7]).keep.tolist() == [0, 1, 2]


def test_too_few_rows(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match="count: 4 rows are asked for, but 3 are left"):
        gather(MatchLengths(to=reference(tmp_path, [1, 2]), count=4), [1, 2, 3])


def test_a_missing_or_bad_set_is_found_before_any_model(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match="no such file"):
        MatchLengths(to=str(tmp_path / "none.jsonl")).check()
    bad = write_jsonl(tmp_path / "bad.jsonl", [{"question": "Q", "answer": ""}])
    with pytest.raises(RingfenceError, match=r"bad.jsonl:1"):
        MatchLengths(to=str(bad)).check()


def test_finished_shards_do_not_depend_on_the_other_set(tmp_path: Path) -> None:
    steps = [MatchLengths(to=reference(tmp_path, [1])), MatchLengths(to="builtin:glitter/safe", count=3, side="user")]
    assert steps[0].map_settings() == steps[1].map_settings()


@pytest.mark.parametrize("settings", [{}, {"to": ""}, {"to": "x", "side": "both"}, {"to": "x", "count": 0}])
def test_bad_settings(settings: Any) -> None:
    with pytest.raises(RingfenceError):
        STEPS.parse({"match_lengths": settings}, "steps.0")
