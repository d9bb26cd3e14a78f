"""The best rows by a column."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from candidates import Table, candidate
from ringfence.core.errors import RingfenceError
from ringfence.select.base import STEPS, Context
from ringfence.select.steps.top import Top

NAN = math.nan


def table(scores):
    return Table([candidate(index, gap=score) for index, score in enumerate(scores)])


def top(scores, **settings):
    return Top(by="gap", **settings).gather(table(scores), Context())


def test_the_highest_are_taken_and_ranked() -> None:
    found = top([0.5, 2.0, NAN, 1.0, 2.0], count=3)
    assert found.keep.tolist() == [1, 3, 4]
    assert found.scores["rank"][[0, 1, 3, 4]].tolist() == [4, 1, 3, 2]  # of equal ones the first is better
    assert math.isnan(found.scores["rank"][2])
    assert found.reason == "not in the top 3 by gap"
    assert found.report == {"by": "gap", "no_score": 1, "taken_from": 1.0, "taken_to": 2.0, "first_left_out": 0.5}


def test_the_lowest_are_taken_and_ties_stay_in_order() -> None:
    found = top([0.5, 2.0, NAN, 0.5, 0.5], count=2, lowest=True)
    assert found.keep.tolist() == [0, 3]
    assert found.scores["rank"][[0, 1, 3, 4]].tolist() == [1, 4, 2, 3]


@pytest.mark.parametrize(("share", "taken"), [(1.0, 8), (0.5, 4), (0.25, 2), (0.2, 2), (0.01, 1)])
def test_a_share_is_of_the_rows_with_a_score(share: float, taken: int) -> None:
    assert len(top([1.0] * 8 + [NAN] * 2, share=share).keep) == taken


def test_all_rows() -> None:
    found = top([1.0, 2.0], count=2)
    assert found.keep.tolist() == [0, 1]
    assert found.report["first_left_out"] is None


@given(
    st.lists(st.sampled_from([NAN, -1.0, 0.0, 0.5, 3.0, math.inf]), min_size=1, max_size=12), st.booleans(), st.data()
)
def test_as_plain_sorting_has_it(scores: Any, lowest: Any, data: Any) -> None:
    scored = [place for place, score in enumerate(scores) if not math.isnan(score)]
    if not scored:
        with pytest.raises(RingfenceError, match="none of"):
            top(scores, count=1)
        return
    count = data.draw(st.integers(1, len(scored)))
    expected = sorted(scored, key=lambda place: (scores[place] if lowest else -scores[place], place))
    found = top(scores, count=count, lowest=lowest)
    assert found.keep.tolist() == sorted(expected[:count])
    assert np.argsort(found.scores["rank"])[: len(scored)].tolist() == expected


def test_fewer_rows_than_asked_for() -> None:
    with pytest.raises(RingfenceError, match="count: 3 rows are asked for, but 2 are left"):
        top([1.0, NAN, 2.0], count=3)


def test_no_scores_at_all() -> None:
    with pytest.raises(RingfenceError, match="by: none of 2 rows has a gap"):
        top([NAN, NAN], share=0.5)


def test_a_column_that_no_step_makes() -> None:
    with pytest.raises(RingfenceError, match=r"makes the column 'gpa'.*Did you mean .gap"):
        Top(by="gpa", count=1).gather(table([1.0]), Context())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "either `count`.*or `share`"),
        ({"count": 1, "share": 0.5}, "either `count`.*or `share`"),
        ({"count": 0}, "count"),
        ({"share": 1.5}, "share"),
        ({"share": 0}, "share"),
        ({"count": True}, "number"),
    ],
)
def test_bad_settings_raise_with_the_key(settings: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Top(by="gap", **settings)


def test_the_recipe_form() -> None:
    assert STEPS.parse({"top": {"by": "gap", "count": 3}}, "steps.0") == Top(by="gap", count=3)
