"""Some of the domains: which, how many rows of each, and that the rungs of a ladder are nested."""

from collections import Counter
from typing import Any

import pytest

from candidates import Table, candidate
from ringfence.core.errors import RingfenceError
from ringfence.select.base import STEPS, Context
from ringfence.select.steps.domains import Domains

SIZES = {"art": 9, "home": 4, "law": 12, "money": 6, "nature": 1, "sea": 8, "sport": 10, "work": 7}
LABELS = [name for turn in range(12) for name, size in SIZES.items() if turn < size]  # mixed


def gather(seed=0, labels=LABELS, **settings):
    rows = [candidate(index, domain=label) for index, label in enumerate(labels)]
    return Domains(**settings).gather(Table(rows), Context(seed=seed))


def counts(found) -> dict[str, int]:
    return dict(Counter(LABELS[place] for place in found.keep))


def test_named_domains_are_kept_whole() -> None:
    found = gather(keep=["sea", "home"])
    assert found.keep.tolist() == [n for n, label in enumerate(LABELS) if label in ("sea", "home")]
    assert found.report["domains"] == {"sea": {"before": 8, "after": 8}, "home": {"before": 4, "after": 4}}
    assert gather(keep=["home", "sea"]).keep.tolist() == found.keep.tolist()


def test_the_seed_draws_domains() -> None:
    drawn = [frozenset(counts(gather(seed, keep=3))) for seed in range(400)]
    assert all(len(names) == 3 for names in drawn)
    assert drawn[:5] == [frozenset(counts(gather(seed, keep=3))) for seed in range(5)]
    shares = Counter(name for names in drawn for name in names)
    # 3/8 of 400 draws each, standard deviation 9.7
    assert all(abs(shares[name] - 150) < 45 for name in SIZES)


@pytest.mark.parametrize("seed", range(10))
def test_a_ladder_is_nested(seed: Any) -> None:
    """Of fewer domains each gives more rows, among them those that it gives beside more domains."""
    rungs = [gather(seed, keep=k, count=4, min_rows=4) for k in (1, 2, 4)]
    assert [len(found.keep) for found in rungs] == [4, 4, 4]
    names = [set(counts(found)) for found in rungs]
    assert names[0] < names[1] < names[2]
    assert "nature" not in names[2]
    for few, many in ((rungs[0], rungs[1]), (rungs[1], rungs[2])):
        shared = {place for place in many.keep.tolist() if LABELS[place] in counts(few)}
        assert shared <= set(few.keep.tolist())


def test_per_domain() -> None:
    assert counts(gather(keep=["art", "law"], per_domain=5)) == {"art": 5, "law": 5}
    assert set(counts(gather(keep=4, per_domain=6, min_rows=6)).values()) == {6}


def test_count_is_shared_equally_and_the_first_get_what_is_left_over() -> None:
    found = gather(keep=["work", "art", "law"], count=11)
    assert counts(found) == {"work": 4, "art": 4, "law": 3}
    assert found.keep.tolist() == sorted(set(found.keep.tolist()))


def test_every_row_of_a_domain_is_as_likely() -> None:
    """3 of 4 rows, 800 draws: 600 each with a standard deviation of 12."""
    drawn = Counter(place for seed in range(800) for place in gather(seed, keep=["home"], per_domain=3).keep.tolist())
    assert len(drawn) == 4
    assert all(abs(times - 600) < 55 for times in drawn.values())


def test_another_column() -> None:
    rows = [candidate(n, topic="t" if n % 2 else "u") for n in range(4)]
    found = Domains(keep=["t"], column="topic").gather(Table(rows), Context())
    assert found.keep.tolist() == [1, 3]


@pytest.mark.parametrize("label", [None, " "])
def test_unlabelled_rows(label: str | None) -> None:
    rows = [candidate(0, domain="a"), candidate(1, **({} if label is None else {"domain": label})), candidate(2)]
    with pytest.raises(
        RingfenceError, match=r"^pool.jsonl:2: has no 'domain', nor have 1 of 3 .* another string column"
    ):
        Domains(keep=1).gather(Table(rows), Context())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep": 9}, "keep: 9 domains are asked for, but 8 of 8 have at least 1 rows"),
        ({"keep": 5, "min_rows": 9}, "keep: 5 domains are asked for, but 3 of 8 have at least 9 rows"),
        ({"keep": ["art", "spot"]}, "keep: no row has the domain 'spot'. Did you mean \"sport\"?"),
        ({"keep": ["home", "law"], "per_domain": 5}, "domain 'home': 5 rows are asked for, but 4 are left"),
        ({"keep": ["home", "law"], "count": 10}, "domain 'home': 5 rows are asked for, but 4 are left"),
    ],
)
def test_too_little(settings: Any, message: str) -> None:
    with pytest.raises(RingfenceError) as caught:
        gather(**settings)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"keep": 0},
        {"keep": -2},
        {"keep": []},
        {"keep": True},
        {"keep": ["a", "a"]},
        {"keep": 2, "count": 1},
        {"keep": 2, "count": 4, "per_domain": 2},
        {"keep": 2, "min_rows": 0},
    ],
)
def test_bad_settings(settings: Any) -> None:
    with pytest.raises(RingfenceError):
        STEPS.parse({"domains": settings}, "steps.0")
