"""Evenly spaced rows along a direction, by hand and by brute force."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import tiny
from candidates import Table, candidate, context
from ringfence.core.errors import RingfenceError
from ringfence.directions.axis import Direction, save_direction
from ringfence.models.identity import identity
from ringfence.select.base import STEPS, Context
from ringfence.select.labelled import quotas
from ringfence.select.steps.along_direction import AlongDirection, along
from ringfence.select.steps.projection import Projection


def one_domain(projections, count):
    return along(np.array(projections, float), [""] * len(projections), count).tolist()


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, [5]), (2, [2, 7]), (3, [1, 5, 8]), (5, [1, 3, 5, 7, 9]), (9, [0, 1, 2, 3, 5, 6, 7, 8, 9]), (10, [*range(10)])],
)
def test_the_middle_of_each_part(count: int, expected: Any) -> None:
    """Ten rows that are sorted already: of 3 parts of 3.33 rows the middles are at 1.67, 5 and 8.33."""
    assert one_domain(range(10), count) == expected


def test_rows_are_sorted_by_projection_and_ties_stay_in_order() -> None:
    assert one_domain([5, 1, 3, 2, 4], 1) == [2]
    assert one_domain([5, 1, 3, 2, 4], 2) == [3, 4]  # of 1 2 3 4 5 the second and the fourth
    assert one_domain([7, 7, 7, 7], 2) == [1, 3]


def test_domains_get_their_share() -> None:
    """4 of 6 + 2: quotas 3 and 1; of 0 1 2 3 4 5 the second, fourth and sixth, of 10 20 the second."""
    projections = np.array([10, 0, 1, 2, 20, 3, 4, 5], float)
    domains = ["b", "a", "a", "a", "b", "a", "a", "a"]
    assert along(projections, domains, 4).tolist() == [2, 4, 5, 7]


def naive(projections, domains, count):
    """Cuts each domain's sorted rows into parts by fractions of a row, and takes the row that the middle lies in."""
    taken = []
    for name, quota in quotas(Counter(domains), count).items():
        rows = sorted((projection, place) for place, projection in enumerate(projections) if domains[place] == name)
        length = len(rows) / max(quota, 1)
        taken += [rows[math.floor((part + 0.5) * length + 1e-9)][1] for part in range(quota)]
    return sorted(taken)


ROWS = st.lists(st.tuples(st.integers(-5, 5), st.sampled_from("abc")), min_size=1, max_size=40)


@given(ROWS, st.data())
def test_as_brute_force_has_it(rows: Any, data: Any) -> None:
    count = data.draw(st.integers(1, len(rows)))
    projections, domains = [float(one) for one, _ in rows], [name for _, name in rows]
    found = along(np.array(projections), domains, count)
    assert found.tolist() == naive(projections, domains, count)
    assert found.dtype == np.int64
    assert len(set(found.tolist())) == count
    assert Counter(domains[place] for place in found) == +Counter(quotas(Counter(domains), count))


@given(st.integers(1, 300), st.data())
def test_chosen_rows_are_evenly_spaced(rows: Any, data: Any) -> None:
    count = data.draw(st.integers(1, rows))
    ranks = np.array(one_domain(range(rows), count))
    assert np.ptp(np.diff(ranks, prepend=ranks[0] - rows // count)) <= 1
    assert ranks[0] <= rows / (2 * count)
    assert rows - 1 - ranks[-1] <= rows / (2 * count)


def test_scale_and_shift_change_nothing() -> None:
    projections = np.random.Generator(np.random.Philox(0)).standard_normal(50)
    domains = ["a", "b"] * 25
    assert along(projections, domains, 9).tolist() == along(3 * projections + 7, domains, 9).tolist()


@pytest.mark.parametrize(
    ("projections", "domains", "count", "said"),
    [
        ([1.0, math.nan], ["a", "a"], 1, "the projection of row 2 is nan"),
        ([1.0, math.inf], ["a", "a"], 1, "row 2 is inf"),
        ([1.0, 2.0], ["a", None], 1, "row 2 has no domain"),
        ([1.0, 2.0], ["a"], 1, "1 domains for projections of shape"),
        ([1.0, 2.0], ["a", "a"], 3, "3 rows are asked for of 2"),
        ([1.0, 2.0], ["a", "a"], 0, "ask for 1 to 2"),
        ([], [], 1, "1 rows are asked for of 0"),
    ],
)
def test_bad_input(projections: Any, domains: Any, count: int, said: str) -> None:
    with pytest.raises(RingfenceError, match=said):
        along(np.array(projections), domains, count)


def table(projections, domains=None):
    columns = [{} if domains is None or name is None else {"domain": name} for name in domains or projections]
    rows = zip(projections, columns, strict=True)
    return Table([candidate(index, projection=one, **own) for index, (one, own) in enumerate(rows)])


def step(count, **settings):
    return AlongDirection(direction="v.safetensors", count=count, **settings)


def test_the_step_takes_high_rows_only_if_told_to() -> None:
    """Quantile 0.5 of 0 ... 9 is 4.5, so 5 ... 9 are left: of 2 parts of 2.5 rows the middles are 6 and 8."""
    found = step(2, by=None, from_quantile=0.5).gather(table(range(10)), Context())
    assert found.keep.tolist() == [6, 8]
    assert found.report == {
        "domains": {"all": {"before": 10, "after": 2}},
        "chosen_from": 5,
        "projection_from": 4.5,
        "mean_projection": {"before": 4.5, "after": 7.0},
    }
    assert step(2, by=None).gather(table(range(10)), Context()).keep.tolist() == [2, 7]


def test_the_step_is_proportional_to_domains() -> None:
    found = step(3).gather(table(range(6), ["a", "a", "b", "a", "b", "a"]), Context())
    assert found.keep.tolist() == [1, 4, 5]
    assert found.report["domains"] == {"a": {"before": 4, "after": 2}, "b": {"before": 2, "after": 1}}


def test_unlabelled_rows_raise() -> None:
    with pytest.raises(RingfenceError, match=r"^pool.jsonl:2: has no 'domain'"):
        step(1).gather(table(range(3), ["a", None, "a"]), Context())


def test_fewer_rows_than_asked_for() -> None:
    with pytest.raises(RingfenceError, match="count: 4 rows are asked for, but 3 are left"):
        step(4, by=None).gather(table(range(3)), Context())
    with pytest.raises(RingfenceError, match=r"from quantile 0.9 up: 2 rows are asked for, but 1 are left"):
        step(2, by=None, from_quantile=0.9).gather(table(range(3)), Context())


@pytest.mark.parametrize(
    "settings", [{}, {"count": 0}, {"count": 1, "from_quantile": 1}, {"count": 1, "from_quantile": -0.1}]
)
def test_bad_settings_raise(settings: Any) -> None:
    with pytest.raises(ValidationError):
        AlongDirection(direction="v.safetensors", **settings)


def test_it_projects_by_itself(tmp_path: Path) -> None:
    """As the step "projection" does; and changes of what comes after need no new projection."""
    vector = np.random.Generator(np.random.Philox(0)).standard_normal(16).astype(np.float32)
    direction = Direction(vector, 1, "user", identity(tiny.model()), "tiny", "template_default", {})
    path = tmp_path / "v.safetensors"
    save_direction(path, direction)
    rows = [candidate(index, "Yes.", "Is it " + "so " * index, domain="ab"[index % 2]) for index in range(6)]
    own = STEPS.parse({"along_direction": {"direction": str(path), "count": 4}}, "steps.0")
    own.check()
    shared, listeners = context(), ([], [])
    plain = Projection(direction=str(path))
    found = own.map(shared)(rows, listeners[0].append)
    assert found == plain.map(shared)(rows, listeners[1].append)
    assert sum(listeners[0]) == 6
    assert own.map_settings() == plain.map_settings() == {"direction": str(path)}
    projections = np.array([row.scores["projection"] for row in found.rows])
    expected = naive(projections.tolist(), ["a", "b"] * 3, 4)
    assert own.gather(Table(found.rows), shared).keep.tolist() == expected
