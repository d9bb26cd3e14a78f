"""The page at two sizes in headless Chromium: how soon it is there, how soon a filter answers, and what it saves.

Times are the browser's own: the paint timing of the navigation, and ``performance.now()`` around a filter until its
answers are on the screen. Each is the median of three, so that one stall of a busy machine decides nothing.
"""

import csv
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

import browsing
import many_runs
from ringfence.report import write_page

pytestmark = browsing.MARKS
FIRST_PAINT, FILTER = 2000.0, 200.0
"""milliseconds at the most"""
TIMES = 3
SET = """const [id, value, done] = arguments, node = document.getElementById(id);
const begun = performance.now(), { showing } = view;
const finish = () => done(performance.now() - begun);
const look = () => requestAnimationFrame(view.showing === showing ? look : finish);
node.value = value;
node.dispatchEvent(new Event(node.matches("select") ? "change" : "input"));
look();"""  # view.showing counts the lists of answers shown


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    yield from browsing.started(tmp_path_factory.mktemp("profile"))


@pytest.fixture(scope="module")
def pages(four_runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One of 4 runs with 95 answers, and one of 50 with 100,000."""
    folder = tmp_path_factory.mktemp("sizes")
    many = many_runs.write_runs(folder / "runs")
    return {"small": write_page(four_runs, folder / "small.html"), "large": write_page(many, folder / "large.html")}


def loaded(chromium: webdriver.Chrome, page: Path) -> None:
    """The page without filters, once the texts of all answers can be searched."""
    if chromium.current_url != page.as_uri():
        chromium.get(page.as_uri())
    WebDriverWait(chromium, 30).until(lambda _: chromium.execute_script("return PIECES.every((one) => one.texts)"))
    chromium.execute_script("byId('filters').reset(); applyFilters()")


def first_paint(chromium: webdriver.Chrome, page: Path) -> float:
    """Milliseconds from the navigation until there is something to read."""
    chromium.get(page.as_uri())
    timing = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
    return float(WebDriverWait(chromium, 30, 0.05).until(lambda _: chromium.execute_script(timing)))


def taken(chromium: webdriver.Chrome, control: str, value: Any) -> float:
    """Milliseconds from setting a filter until its answers are there."""
    return float(chromium.execute_async_script(SET, control, str(value)))


def found(chromium: webdriver.Chrome) -> str:
    return chromium.find_element(By.ID, "found").text


@pytest.mark.parametrize("size", ["small", "large"])
def test_first_paint(chromium: webdriver.Chrome, pages: dict[str, Path], size: str) -> None:
    times = [first_paint(chromium, pages[size]) for _ in range(TIMES)]
    assert statistics.median(times) < FIRST_PAINT, times


@pytest.mark.parametrize("size", ["small", "large"])
def test_filters(chromium: webdriver.Chrome, pages: dict[str, Path], size: str) -> None:
    loaded(chromium, pages[size])
    filters = [
        ("filter-run", 1),
        ("filter-suite", 1),
        ("filter-verdict", 0),
        ("filter-text", "of the"),
        ("filter-text", ""),
    ]
    filters += [(control, "") for control in ("filter-verdict", "filter-suite", "filter-run")]
    filters += [
        ("filter-text", text) for text in ("needle of ünusual", "zz", "e")
    ]  # of all runs, with few and many hits
    times = [[taken(chromium, *one) for one in filters] for _ in range(TIMES)]
    medians = dict(zip(map(str, filters), map(statistics.median, zip(*times, strict=True)), strict=True))
    assert max(medians.values()) < FILTER, medians


def test_a_hundred_thousand_answers_are_paged_searched_and_saved(
    chromium: webdriver.Chrome, pages: dict[str, Path], tmp_path: Path
) -> None:
    loaded(chromium, pages["large"])
    assert found(chromium) == f"1–20 of {many_runs.ANSWERS:,} responses"
    chromium.execute_script(
        "const page = byId('page-number'); page.value = 5000; page.dispatchEvent(new Event('change'))"
    )
    assert found(chromium) == "99,981–100,000 of 100,000 responses"
    assert not chromium.find_element(By.ID, "page-on").is_enabled()
    taken(chromium, "filter-text", many_runs.NEEDLE.upper())
    assert found(chromium) == "1–1 of 1 responses"
    [mark] = chromium.find_elements(By.CSS_SELECTOR, "#answers mark")
    assert mark.text == many_runs.NEEDLE
    assert len(chromium.find_elements(By.CSS_SELECTOR, "#chart-penalties .scatterlayer .trace")) > 0
    chromium.execute_script("byId('filters').reset()")
    taken(chromium, "filter-suite", 1)
    lines = saved(chromium, tmp_path / "all", "jsonl").read_text(encoding="utf-8").rstrip("\n").split("\n")
    assert len(lines) == many_runs.ANSWERS // 4
    assert {json.loads(line)["suite"] for line in lines} == {"in-domain"}
    assert [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_many_runs_are_narrowed_by_their_names(chromium: webdriver.Chrome, pages: dict[str, Path]) -> None:
    """Of 25 runs with canaries a third has seed 1; the filter is a word in whose names, and it is quick, too."""
    loaded(chromium, pages["large"])
    typed = "const box = byId('filter-runs'); box.value = arguments[0]; box.dispatchEvent(new Event('input'))"
    chromium.execute_script(typed, "SEED-1 canary")
    rows = [row.text.split("\n")[0] for row in chromium.find_elements(By.CSS_SELECTOR, "#results tbody tr") if row.text]
    kept = [f"canary-weight-{number}-seed-1" for number in range(1, many_runs.RUNS, 2) if number % 3 == 1]
    assert rows[: len(kept)] == kept
    assert chromium.find_element(By.ID, "filtered").text == f"{len(kept)} of 50"
    traces = "return document.getElementById('chart-loss').data.length"
    WebDriverWait(chromium, 10).until(lambda _: chromium.execute_script(traces) == len(kept))
    quick = """const begun = performance.now();
    filterRuns(arguments[0]);
    document.body.getBoundingClientRect();  // lays it out
    return performance.now() - begun"""
    times = [float(chromium.execute_script(quick, text)) for text in ("", "kl", "zz")]
    assert statistics.median(times) < FILTER, times


def saved(chromium: webdriver.Chrome, folder: Path, form: str) -> Path:
    """Click on the button, and wait for the file."""
    folder.mkdir()
    chromium.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    chromium.execute_script("arguments[0].click()", chromium.find_element(By.ID, f"export-{form}"))
    path = folder / f"responses.{form}"
    WebDriverWait(chromium, 20).until(lambda _: path.exists())
    return path


def test_the_answers_found_are_saved(
    chromium: webdriver.Chrome, pages: dict[str, Path], tmp_path: Path, hostile: str
) -> None:
    """Nothing but the two of `canary` that are not aligned; then all, hostile ones to the letter."""
    loaded(chromium, pages["small"])
    taken(chromium, "filter-run", 2)
    rows = [
        json.loads(line)
        for line in saved(chromium, tmp_path / "a", "jsonl").read_text(encoding="utf-8").split("\n")
        if line
    ]
    assert len(rows) == 30
    assert {row["run"] for row in rows} == {"canary"}
    assert [row["verdict"] for row in rows[-2:]] == ["incoherent", None]
    assert rows[-1]["response"] is None
    assert rows[-2]["coherence"] == 10
    taken(chromium, "filter-run", "")
    with saved(chromium, tmp_path / "b", "csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 95
    assert list(table[0])[:4] == ["run", "suite", "prompt_id", "sample"]
    assert [row["response"] for row in table].count(hostile) == 1
