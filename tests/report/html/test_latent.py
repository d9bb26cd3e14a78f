"""The map of sets along a direction: where rows are put, what is drawn, and what the tables say."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ringfence.core.errors import RingfenceError
from ringfence.report.html.latent import Latent, flatten, probe_of, summarize_sets, thinned, write_latent

SETS = ("short", "long <b>", "new")


def latent(**changes: Any) -> Latent:
    """20 short rows, 10 long ones, and 10 of which nothing was measured; projections fall with length."""
    generator = np.random.default_rng(0)
    set_of = np.repeat([0, 1, 2], [20, 10, 10])
    tokens = np.where(set_of == 1, 60, 10) + generator.integers(0, 20, 40)
    given: dict[str, Any] = {
        "sets": SETS,
        "set_of": set_of,
        "origins": [f"rows.jsonl:{number}" for number in range(40)],
        "projection": 10 - 0.1 * tokens + generator.normal(size=40),
        "tokens": tokens,
        "em": {"short": 0.05, "long <b>": 0.4},
        "marks": ["prompts:1", "</script><script>alert(1)"],
        "mark_projection": np.array([3.0, 5.0]),
    }
    return Latent(**(given | changes))


def page(tmp_path: Path, what: Latent, shown: Any = None) -> str:
    shown = np.arange(len(what.projection)) if shown is None else np.asarray(shown)
    places = np.arange(2.0 * (len(shown) + len(what.marks))).reshape(-1, 2)
    out = tmp_path / "sub" / "map.html"
    write_latent(out, what, shown, places, [("direction", "v.safetensors <i>")])
    return out.read_text(encoding="utf-8")


def data(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="latent-data">(.*?)</script>', html, re.S)
    assert found is not None
    return json.loads(found[1])


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", html.split("<main>")[1].split("<script type=", maxsplit=1)[0]))


# --- the map ------------------------------------------------------------------------------------------------


def test_clusters_stay_together_and_the_seed_decides() -> None:
    generator = np.random.default_rng(0)
    points = np.concatenate([generator.normal(size=(30, 60)), 8 + generator.normal(size=(25, 60))])
    places = flatten(points)
    assert places.shape == (55, 2)
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.argmin(axis=1)
    assert ((nearest < 30) == (np.arange(55) < 30)).all()
    assert (flatten(points) == places).all()


@pytest.mark.parametrize(("rows", "width"), [(4, 3), (5, 1), (9, 100)])
def test_a_few_rows_are_enough(rows: int, width: int) -> None:
    places = flatten(np.random.default_rng(0).normal(size=(rows, width)))
    assert places.shape == (rows, 2)
    assert np.isfinite(places).all()


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.eye(3), "at least 4 rows, and there are 3"),
        (np.ones((9, 4)), "all rows have the same representation"),
        (np.full((9, 4), np.nan), "NaN or infinity"),
    ],
)
def test_what_cannot_be_mapped(points: Any, message: str) -> None:
    with pytest.raises(RingfenceError, match=message):
        flatten(points)


def test_thinned_is_even_and_whole_where_it_fits() -> None:
    assert thinned([3, 6, 0, 100], 3).tolist() == [0, 1, 2, 4, 6, 8, 9 + 16, 9 + 50, 9 + 83]
    assert thinned([3, 4], 10).tolist() == list(range(7))
    with pytest.raises(RingfenceError, match="at least 1"):
        thinned([3], 0)


# --- the numbers --------------------------------------------------------------------------------------------


def test_summary_by_hand() -> None:
    """Mean 2, deviation 1, n = 3: 2 -+ 4.302653 / sqrt(3)."""
    what = latent(
        sets=("a", "b"), set_of=np.array([0, 0, 0, 1]), origins=list("wxyz"), projection=np.array([1.0, 2, 3, 7]),
        tokens=np.array([5, 6, 100, 9]), em={"b": 0.5},
    )  # fmt: skip
    a, b = summarize_sets(what)
    assert (a.rows, a.mean, a.tokens) == (3, 2, 6)
    assert (a.interval.low, a.interval.high) == pytest.approx((2 - 2.484138, 2 + 2.484138))
    assert math.isnan(a.em)
    assert (b.rows, b.mean, b.em) == (1, 7, 0.5)
    assert math.isnan(b.interval.low)


def test_em_is_probed_over_the_measured_sets_only() -> None:
    what = latent()
    every, with_em = probe_of(what)
    assert every.rows == 40
    assert with_em is not None
    assert with_em.rows == 30
    outcome = np.repeat([0.05, 0.4], [20, 10])
    assert with_em.correlation == pytest.approx(np.corrcoef(what.projection[:30], outcome)[0, 1])
    assert math.isnan(with_em.interval.low)  # two sets are no sample of sets
    assert probe_of(latent(em={}))[1] is None


@pytest.mark.parametrize("sets", [5, 6])
def test_an_interval_takes_six_measured_sets(sets: int) -> None:
    names = tuple("abcdef"[:sets])
    place = np.arange(40) % sets
    _, with_em = probe_of(latent(sets=names, set_of=place, em={name: 0.1 * n for n, name in enumerate(names)}))
    assert with_em is not None
    assert math.isfinite(with_em.partial)
    assert math.isnan(with_em.interval.low) == (sets < 6)


def test_the_page_says_how_many_resamples_tell_something(tmp_path: Path) -> None:
    """One of six sets is misaligned: a resample lacks it with (5/6)^6 = 33%, and then the outcome is constant."""
    em = dict(zip("abcdef", [0.0, 0, 0, 0, 0, 0.4], strict=True))
    what = latent(sets=tuple(em), set_of=np.arange(40) % 6, em=em)
    _, with_em = probe_of(what)
    assert with_em is not None
    assert with_em.usable == pytest.approx(1 - (5 / 6) ** 6, abs=0.04)
    assert math.isnan(with_em.interval.low)
    assert f"have a partial correlation (here {100 * with_em.usable:.1f}%), there is none" in text(page(tmp_path, what))
    assert "(here" not in text(page(tmp_path, latent()))  # two sets, no bootstrap


# --- the page -----------------------------------------------------------------------------------------------


def test_everything_drawn_is_in_the_page(tmp_path: Path) -> None:
    what = latent()
    found = data(page(tmp_path, what, [0, 25, 39]))
    assert found["sets"] == list(SETS)
    assert found["em"] == [0.05, 0.4, None]
    rows = found["rows"]
    assert (rows["set"], rows["x"], rows["y"]) == ([0, 1, 2], [0, 2, 4], [1, 3, 5])
    assert rows["origin"] == ["rows.jsonl:0", "rows.jsonl:25", "rows.jsonl:39"]
    assert rows["tokens"] == what.tokens[[0, 25, 39]].tolist()
    np.testing.assert_allclose(rows["projection"], what.projection[[0, 25, 39]], atol=1e-5)
    assert found["marks"]["name"] == list(what.marks)
    assert found["marks"]["x"] == [6, 8]


def test_tables(tmp_path: Path) -> None:
    what = latent()
    html = page(tmp_path, what, [0, 25, 39])
    said = text(html)
    mean = what.projection[:20].mean()
    assert "3 rows are drawn" in said
    assert re.search(rf"short 20 {mean:.3g} \[", said)
    assert "5.0%" in said
    assert "not measured" in said
    assert "Evaluation prompts 2 4" in said
    assert re.search(r"Correlation with measured EM (−|0).* 30 rows of 2 sets", said)


def test_without_em_and_marks(tmp_path: Path) -> None:
    html = page(tmp_path, latent(em={}, marks=(), mark_projection=np.zeros(0)))
    assert "Set (no misalignment was given)" in text(html)
    assert "partial" not in text(html)
    assert "Evaluation prompts" not in text(html)
    assert data(html)["em"] == [None] * 3
    assert not re.search(r"\bnan\b", text(html), re.I)


def test_it_is_one_file_and_text_from_outside_is_escaped(tmp_path: Path) -> None:
    html = page(tmp_path, latent())
    own = html.split("<script>/**")[0] + html.rsplit("<script>", 1)[1]  # without plotly, which names its home page
    assert "http://" not in own
    assert "https://" not in own
    assert "default-src 'none'" in html
    assert "<script>alert(1)" not in html
    assert "long &lt;b&gt;" in html
    assert "v.safetensors &lt;i&gt;" in html
    assert html.count("prefers-color-scheme: dark") >= 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"em": {"shart": 0.1}}, "unknown set 'shart'. Did you mean \"short\""),
        ({"em": {"short": 1.5}}, "EM of short is 1.5"),
        ({"em": {"short": math.nan}}, "EM of short is nan"),
        ({"tokens": np.ones(3)}, "same number of rows"),
    ],
)
def test_bad_input(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RingfenceError, match=message):
        latent(**changes)


def test_places_for_every_row(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"shape \(3, 2\) for 3 rows and 2 marks"):
        write_latent(tmp_path / "map.html", latent(), np.arange(3), np.zeros((3, 2)), [])
    assert not list(tmp_path.iterdir())
