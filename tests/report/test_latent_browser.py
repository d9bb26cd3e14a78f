"""The map in headless Chromium, opened from ``file://``."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

import browsing
from ringfence.report.html.latent import Latent, write_latent

pytestmark = browsing.MARKS


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    yield from browsing.started(tmp_path_factory.mktemp("profile"))


def drawn(chromium: webdriver.Chrome, panel: str) -> list[list[float]]:
    """Colours, or the one colour, of every trace of a panel that has points."""
    script = "return document.getElementById(arguments[0]).data.filter((t) => t.x.length).map((t) => t.marker.color)"
    return chromium.execute_script(script, panel)


@pytest.mark.parametrize("em", [{"a": 0.25}, {}])
def test_three_maps_in_both_themes(chromium: webdriver.Chrome, tmp_path: Path, em: dict[str, float]) -> None:
    what = Latent(
        ("a", "<b>"), np.array([0, 0, 1]), ["x:1", "x:2", "y:1"], np.array([1.0, -2.0, 3.0]), np.array([5, 6, 7]),
        em, ["p:1"], np.array([0.5]),
    )  # fmt: skip
    write_latent(tmp_path / "map.html", what, np.arange(3), np.arange(8.0).reshape(4, 2), [])
    chromium.get((tmp_path / "map.html").as_uri())
    *points, ring = drawn(chromium, "by-projection")
    assert points == [[1, -2, 3]]
    assert ring.startswith("#")
    assert drawn(chromium, "by-tokens")[0] == [5, 6, 7]
    by_em = drawn(chromium, "by-em")[:-1]
    assert len(by_em) == 2  # grey and measured, or one colour a set
    assert ([25, 25] in by_em) == bool(em)
    assert len(chromium.find_elements(By.CSS_SELECTOR, ".maps .scatterlayer")) == 3
    before = chromium.execute_script("return getComputedStyle(document.body).backgroundColor")
    chromium.find_element(By.ID, "theme").click()
    assert chromium.execute_script("return getComputedStyle(document.body).backgroundColor") != before
    assert drawn(chromium, "by-projection")[-1] != ring
    assert [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"] == []
