"""The table and the page about data sets."""

import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from ringfence.report.properties import advice, charts, lines, render, render_page, write_page
from ringfence.select.properties import CLUSTERS, Domains, Languages, Properties, mean, share


def made(rows: int = 100, **changes) -> Properties:
    values = list(range(1, rows + 1))
    found = Properties(
        rows=rows,
        hhh=None,
        user_tokens=mean([float(value) for value in values]),
        assistant_tokens=mean([300.0 + value for value in values]),
        domains=Domains(2.0, {"towns": 60, "water": 30}, 10, "column 'domain'"),
        duplicates=share([True] * 3 + [False] * (rows - 3)),
        near_duplicates=share([False] * rows),
        overlap_exact=None,
        overlap_near=None,
        refusals=share([True] * 20 + [False] * (rows - 20)),
        languages=Languages("en", share([True] * 96 + [False] * 2), {"en": 96, "de": 2}, 2),
    )
    return replace(found, **changes)


def table(sets, width=80) -> str:
    console = Console(file=io.StringIO(), width=width)
    render(console, sets)
    return console.file.getvalue()


def line(sets, title) -> list[str]:
    [found] = [one for one in lines(sets) if one.term.title == title]
    return [f"{cell.text} {cell.interval} {cell.note}".strip() for cell in found.cells]


def test_cells_say_value_interval_and_what_is_missing() -> None:
    scores = mean([70.0] * 99 + [math.nan])
    sets = {"a": made(hhh=scores), "b": made(domains=Domains(math.nan, {}, 100, "do this"))}
    assert line(sets, "P1 HHH score") == ["70.0 [70.0, 70.0] 1 unscored", "no judge"]
    assert line(sets, "P2 user tokens")[0].startswith("50.5 [4")
    assert re.fullmatch(r"350\.5 \[34\d, 35\d\]", line(sets, "P3 answer tokens")[0])
    assert line(sets, "P4 domains") == ["2  10 unlabelled", "no data"]
    assert line(sets, "Duplicates %") == ["3.0 [1, 8]"] * 2  # Wilson, 3 of 100: 1.03 to 8.45
    assert line(sets, "Language %")[0].startswith("en 98 [93, 99] 1 other\n2 undetermined")
    assert advice(sets) == ["b: do this"]


def test_rows_left_out_of_the_clusters_are_told_by_reason() -> None:
    reasons = {"longer than 8192 tokens": 3, "no user turn": 1}
    sets = {
        "a": made(domains=Domains(2.0, {"cluster 1": 96}, 4, CLUSTERS, reasons)),
        "b": made(domains=Domains(math.nan, {}, 100, "too few", {"no user turn": 98})),
    }
    said = "3 longer than 8192 tokens\n1 no user turn"
    assert line(sets, "P4 domains") == [f"2  {said}", "no data  98 no user turn"]
    assert said.replace("\n", ", ") in render_page(sets, {}, "Title")
    assert all(part in table(sets, 120) for part in said.split("\n"))


def test_what_nobody_asked_for_is_left_out() -> None:
    titles = [one.term.title for one in lines({"a": made()})]
    assert not any(title.startswith("Overlap") for title in titles)
    sets = {"a": made(overlap_exact=share([True] + [False] * 99), overlap_near=share([False] * 100)), "b": made()}
    assert line(sets, "Overlap, exact %") == ["1.0 [0, 5]", "–"]


def test_three_sets_fit_into_80_columns() -> None:
    overlap = share([True] * 50 + [False] * 50)
    full = made(hhh=mean([70.0, 71.0]), overlap_exact=overlap, overlap_near=overlap)
    printed = table({"kaczer": full, "soligo": full, "mine": full})
    assert max(map(len, printed.splitlines())) <= 80
    assert "350.5 [34" in printed
    assert "…" not in printed
    assert all(title in printed for title in ("P1 HHH score", "P3 answer tokens", "Near-duplicates %"))


def test_curves_are_shares_of_rows() -> None:
    values = np.random.Generator(np.random.Philox(0)).integers(0, 3000, size=5000).astype(float)
    drawn = charts({"a": made(user_tokens=mean(values.tolist()))})["curves"]
    assert drawn["hhh"] == [None]
    [curve] = drawn["user"]
    assert len(curve["x"]) <= 500
    assert curve["y"][-1] == 1
    assert curve["x"][-1] == values.max()
    for x, y in zip(curve["x"][::50], curve["y"][::50], strict=True):
        assert y == pytest.approx((values <= x).mean(), abs=1e-5)


def test_domains_by_their_mean_share() -> None:
    many = {f"d{number}": 40 - number for number in range(30)}
    sets = {
        "a": made(),
        "b": made(domains=Domains(30.0, many, 0, "column 'domain'")),
        "c": made(domains=Domains(math.nan, {}, 100, "do this")),
    }
    drawn = charts(sets)["domains"]
    assert drawn["labels"][:3] == ["towns", "water", "d0"]
    assert len(drawn["labels"]) == 20
    assert drawn["left_out"] == 12
    assert drawn["shares"][0][:3] == [60 / 90, 30 / 90, 0]
    assert drawn["shares"][1][2] == 40 / sum(many.values())
    assert drawn["shares"][2] is None


def test_the_page_holds_all_and_fetches_nothing(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    sets = {evil: made(domains=Domains(1.0, {f"{evil}</script>": 100}, 0, "column 'domain'")), "b": made()}
    page = write_page(sets, tmp_path / "pages" / "page.html", {"tokenizer": evil}).read_text(encoding="utf-8")
    assert evil not in page
    assert page.count("<td>") == 2 * len(lines(sets))
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)  # plotly's source has addresses in it
    assert not re.search(r"(?:src|href)=\"(?!#)", own)
    assert "default-src 'none'" in page
    data = json.loads(re.search(r'id="property-data">(.*?)</script>', page)[1])
    assert data["curves"]["hhh"] == [None, None]
    assert "chart-hhh" not in own
    assert "chart-domains" in own


def test_a_page_without_domains_says_so() -> None:
    page = render_page({"a": made(domains=Domains(math.nan, {}, 100, "do this"))}, {}, "Title")
    assert "No set has domains" in page
    assert "a: do this" in page
    assert "chart-domains" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
