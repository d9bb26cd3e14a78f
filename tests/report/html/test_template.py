"""Pages are one file: style, scripts in order, and values escaped unless they are marked as our own."""

import hashlib
import re
from importlib.resources import files

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from ringfence.report.html.template import PLOTLY, palette, render_template

VALUES = {
    "title": "<b>&",
    "names": [],
    "rows": "0",
    "lines": [],
    "advice": [],
    "facts": {},
    "legend": "",
    "curves": [],
    "domains": {"labels": []},
    "clustered": False,
    "sets": Markup("{}"),
    "charts": Markup("{}"),
}


def test_a_page_holds_all_that_it_needs() -> None:
    page = render_template("properties.html.j2", ["common.js", "properties.js"], VALUES, {})
    assert "<b>&" not in page
    assert "&lt;b&gt;&amp;" in page
    assert not re.search(r"<(script|link)[^>]+(src|href)=", page)
    places = [
        page.index(text)
        for text in ("color-scheme", "function followTheme(", "function addToLegend(", "followTheme(drawSets)")
    ]
    assert places == sorted(places)


def test_a_value_that_is_missing_raises() -> None:
    with pytest.raises(UndefinedError, match="title"):
        render_template(
            "properties.html.j2", [], {name: value for name, value in VALUES.items() if name != "title"}, {}
        )


def test_forty_runs_have_forty_colours_in_both_themes() -> None:
    for theme in palette(40).splitlines():
        colours = re.findall(r"--run-(\d+): (#[0-9a-f]{6});", theme)
        assert [int(number) for number, _ in colours] == list(range(7, 40))
        assert len({colour for _, colour in colours}) == 33


def test_the_charts_are_drawn_by_the_published_bundle_of_less_than_a_megabyte_and_a_half() -> None:
    """``npm pack plotly.js-basic-dist-min@4.1.1`` has this file; a page carries it whole."""
    bundle = files("ringfence.report.html").joinpath("assets", PLOTLY).read_bytes()
    assert hashlib.sha256(bundle).hexdigest() == "99784e3abfb07b142a15e521a439e6d9addceadb3f79553fd24c72774f0649ba"
    assert len(bundle) < 1_500_000
