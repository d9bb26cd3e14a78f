"""Rows drawn by chance in proportion to their domains."""

from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from candidates import Table, candidate
from ringfence.core.errors import RingfenceError
from ringfence.select.base import STEPS, Context
from ringfence.select.steps.random import Random

DOMAINS = ["art"] * 6 + ["work"] * 3 + ["sea"]


def table(domains):
    return Table([candidate(index, domain=domain) for index, domain in enumerate(domains)])


def draw(count, seed=0, domains=DOMAINS, **settings):
    return Random(count=count, **settings).gather(table(domains), Context(seed=seed))


def test_every_domain_has_its_share_and_at_least_one() -> None:
    found = draw(5)
    assert Counter(DOMAINS[place] for place in found.keep) == {"art": 3, "work": 1, "sea": 1}
    assert found.report["domains"] == {
        "art": {"before": 6, "after": 3},
        "sea": {"before": 1, "after": 1},
        "work": {"before": 3, "after": 1},
    }
    assert found.keep.tolist() == sorted(set(found.keep.tolist()))


def test_the_seed_decides() -> None:
    drawn = [draw(5, seed).keep.tolist() for seed in range(20)]
    assert drawn == [draw(5, seed).keep.tolist() for seed in range(20)]
    assert len({tuple(one) for one in drawn}) > 10


def test_every_row_of_a_domain_is_as_likely() -> None:
    """3 of 6 rows: each is in half of the draws; of 1000 draws the standard deviation is 1.6 %."""
    counts = Counter(place for seed in range(1000) for place in draw(5, seed).keep.tolist())
    assert all(counts[place] / 1000 == pytest.approx(0.5, abs=0.08) for place in range(6))
    assert counts[9] == 1000


def test_without_domains() -> None:
    found = draw(4, domains=["x"] * 10, by=None)
    assert len(found.keep) == 4
    assert found.report["domains"] == {"all": {"before": 10, "after": 4}}
    unlabelled = Table([candidate(index) for index in range(10)])
    assert Random(count=4, by=None).gather(unlabelled, Context()).keep.tolist() == found.keep.tolist()


def test_more_rows_include_the_fewer() -> None:
    few, many = (set(draw(count, by=None).keep.tolist()) for count in (4, 7))
    assert few < many


def test_all_rows() -> None:
    assert draw(10).keep.tolist() == list(range(10))


def test_unlabelled_rows_raise() -> None:
    with pytest.raises(RingfenceError, match=r"^pool.jsonl:1: has no 'domain'"):
        Random(count=1).gather(Table([candidate(0)]), Context())


def test_fewer_rows_than_asked_for() -> None:
    with pytest.raises(RingfenceError, match="count: 11 rows are asked for, but 10 are left"):
        draw(11)


@pytest.mark.parametrize("settings", [{}, {"count": 0}, {"count": 2.5}, {"count": 1, "seed": 3}])
def test_bad_settings_raise(settings: Any) -> None:
    with pytest.raises(ValidationError):
        Random(**settings)


def test_the_recipe_form() -> None:
    assert STEPS.parse({"random": {"count": 3}}, "steps.0") == Random(count=3, by="domain")
