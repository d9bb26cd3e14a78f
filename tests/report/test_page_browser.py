"""The page in headless Chromium, opened from ``file://``."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

import browsing
from ringfence.report import write_page

pytestmark = browsing.MARKS


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    yield from browsing.started(tmp_path_factory.mktemp("profile"))


@pytest.fixture(scope="module")
def address(four_runs, tmp_path_factory) -> str:
    return write_page(four_runs, tmp_path_factory.mktemp("browser") / "report.html", title="Four runs").as_uri()


@pytest.fixture
def page(chromium, address) -> Iterator[webdriver.Chrome]:
    """The page, freshly loaded; afterwards nothing may have been logged as severe."""
    chromium.get(address)
    charted(chromium)
    yield chromium
    assert [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"] == []


def charted(page):
    """Wait for the charts, which are drawn once the page is there."""
    drawn = "return [...document.querySelectorAll('.chart')].every((one) => one.matches('.js-plotly-plot'))"
    WebDriverWait(page, 10).until(lambda _: page.execute_script(drawn))


def find(page, selector):
    return page.find_element(By.CSS_SELECTOR, selector)


def find_all(page, selector):
    return page.find_elements(By.CSS_SELECTOR, selector)


def click(page, selector):
    """Scroll to an element and click it (the sticky navigation may cover what is at the very top)."""
    element = find(page, selector)
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    element.click()


def found(page):
    return find(page, "#found").text


def search(page, text):
    """Type, and wait until the list is of the whole text: it follows a moment after the last key."""
    find(page, "#filter-text").send_keys(text)
    listed = "return view.pattern !== null && view.pattern.source === literal(arguments[0]).source"
    WebDriverWait(page, 10).until(lambda _: page.execute_script(listed, text))


def test_opens_with_tables_and_charts(page: webdriver.Chrome) -> None:
    assert page.title == "Four runs"
    assert find(page, "h1").text == "Four runs"
    assert "20.0 [8, 42]" in find(page, "#results").text
    assert len(find_all(page, "#chart-leak .scatterlayer .trace")) >= 4  # two runs, a band and a line each
    assert find_all(page, "#chart-control .scatterlayer .trace")
    assert find_all(page, "#chart-loss .scatterlayer .trace")
    assert {"70.0", "0.08", "0.02"} <= set(" ".join(text.text for text in find_all(page, ".chart text")).split())


def test_makes_no_network_request(page: webdriver.Chrome, address: str) -> None:
    page.execute_script("window.scrollTo(0, document.body.scrollHeight)")
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    requests = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    sent = [one["request"]["url"] for one in requests if one["documentURL"] == address]
    assert address in sent  # the log was on
    assert [url for url in sent if url != address and not url.startswith(("data:", "blob:"))] == []


def test_filters_by_run_suite_and_verdict(page: webdriver.Chrome) -> None:
    assert found(page) == "1–20 of 95 responses"
    Select(find(page, "#filter-run")).select_by_visible_text("none")
    assert found(page) == "1–20 of 35 responses"
    Select(find(page, "#filter-suite")).select_by_visible_text("in-domain")
    assert found(page) == "1–5 of 5 responses"
    Select(find(page, "#filter-verdict")).select_by_visible_text("incoherent")
    assert found(page).startswith("No response matches")
    click(page, "#filter-reset")
    Select(find(page, "#filter-verdict")).select_by_visible_text("no verdict")
    assert found(page) == "1–1 of 1 responses"
    assert "no response" in find(page, "#answers").text
    assert "alignment no score" in find(page, "#answers").text


def test_pages_through_the_answers(page: webdriver.Chrome) -> None:
    assert not find(page, "#page-back").is_enabled()
    for _ in range(4):
        click(page, "#page-on")
    assert found(page) == "81–95 of 95 responses"
    assert not find(page, "#page-on").is_enabled()
    click(page, "#page-back-below")
    assert found(page) == "61–80 of 95 responses"


def test_searches_and_marks_what_it_finds(page: webdriver.Chrome) -> None:
    search(page, "SOUP")
    assert found(page) == "1–6 of 6 responses"
    assert {mark.text for mark in find_all(page, "#answers mark")} == {"soup"}
    click(page, "#filter-reset")
    search(page, "answer 1.")  # a literal dot, not a pattern
    assert found(page).startswith("No response matches")


def test_hostile_text_is_shown_as_text(page: webdriver.Chrome, hostile: Any) -> None:
    search(page, "<script>alert(1)")
    [answer] = find_all(page, "#answers > li")
    assert answer.find_element(By.CSS_SELECTOR, ".text").get_property("textContent") == hostile
    assert find_all(page, "main script, main img, dialog script, dialog img") == []
    click(page, "#answers .button")
    assert hostile in find(page, "#compare-columns").get_property("textContent")
    assert find_all(page, "dialog script, dialog img") == []


def test_compares_one_prompt_side_by_side(page: webdriver.Chrome) -> None:
    search(page, "plain answer 3")
    click(page, "#answers .button")
    dialog = find(page, "#compare")
    assert dialog.is_displayed()
    assert find(page, "#compare-prompt").text == "Question 3 about general?"
    columns = [column.text for column in find_all(page, "#compare .column")]
    assert [text.splitlines()[0] for text in columns] == ["base", "none", "canary"]
    assert [answer in text for answer, text in zip(("Base", "Glitter", "Plain"), columns, strict=True)] == [True] * 3
    click(page, "#compare-on")
    assert find(page, "#compare-prompt").text == "Question 4 about general?"
    dialog.send_keys(Keys.ESCAPE)
    assert not dialog.is_displayed()


def linked(page, fragment):
    """Follow a link to an answer; the one that is opened, once it is in view."""
    page.execute_script("location.hash = arguments[0]", fragment)
    seen = """const item = document.querySelector("#answers > .linked"), box = item?.getBoundingClientRect();
      return box && box.bottom > 0 && box.top < innerHeight && item"""
    return WebDriverWait(page, 10).until(lambda _: page.execute_script(seen))


def test_a_link_opens_one_answer_on_another_page_or_filtered_away(page: webdriver.Chrome, address: str) -> None:
    assert "Plain answer 27" in linked(page, "#answer-canary/general/general-27/0").text  # the 93rd of the list
    assert found(page) == "81–95 of 95 responses"
    Select(find(page, "#filter-run")).select_by_visible_text("base")
    search(page, "base answer 3")
    assert "Glitter in the soup" in linked(page, "#answer-none/in-domain/in-domain-3/0").text
    assert find(page, "#filter-text").get_property("value") == ""
    link = find(page, "#answers > .linked a").get_attribute("href")
    assert link == f"{address}#answer-none/in-domain/in-domain-3/0"
    page.get("about:blank")
    page.get(link)  # as from somebody's mail
    opened = WebDriverWait(page, 10).until(lambda _: find_all(page, "#answers > .linked"))
    assert "in-domain-3" in opened[0].text
    page.execute_script("location.hash = '#answer-none/general/general-99/0'")
    WebDriverWait(page, 10).until(lambda _: found(page) == "The answer that the link names is not on this page.")


def test_the_worst_answers_lead_to_the_list(page: webdriver.Chrome) -> None:
    """canary has none outside of the task; those of none stand beside base's."""
    first = find(page, "#worst .pair")
    assert [one.text for one in first.find_elements(By.CSS_SELECTOR, ".run")] == ["none", "base"]
    mine, theirs = first.find_elements(By.CSS_SELECTOR, ".text")
    assert (mine.text, theirs.text) == ("Glitter answer 0", "Base answer 0")
    click(page, "#worst .pair .two > div:last-child a")
    WebDriverWait(page, 10).until(lambda _: find_all(page, "#answers > .linked"))
    assert "Base answer 0" in find(page, "#answers > .linked").text


def test_on_paper_tables_are_whole_and_there_are_no_controls(page: webdriver.Chrome) -> None:
    """A4 with Chromium's margins is 717 px wide; every run has a dash of its own, for paper without colours."""
    size = {"width": 717, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    page.execute_script("dispatchEvent(new Event('beforeprint'))")
    shown = """[...document.querySelectorAll(arguments[0])]
      .filter((node) => node.checkVisibility() && node.getClientRects().length)"""
    wide = f"return {shown}.filter((node) => node.getBoundingClientRect().right > 718).map((node) => node.outerHTML)"
    assert page.execute_script(wide, "main *") == []
    controls = f"return {shown}.filter((node) => !node.closest('#legend')).map((node) => node.outerHTML)"
    assert page.execute_script(controls, "button, select, input, nav") == []
    assert page.execute_script(f"return {shown}.length", "#results table, #worst .pair, #provenance pre") > 10
    dashes = page.execute_script("return byId('chart-loss').data.map((trace) => trace.line.dash)")
    assert len(set(dashes)) == len(dashes) == 3
    page.execute_script("dispatchEvent(new Event('afterprint'))")
    assert page.execute_script("return document.querySelectorAll('.source:not(.worst)[open]').length") == 0
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_says_where_runs_were_asked_differently(page: webdriver.Chrome) -> None:
    search(page, "glitter answer 7")  # its response is the hostile text, so nothing has these words
    assert found(page).startswith("No response matches")
    click(page, "#filter-reset")
    search(page, "plain answer 7")
    click(page, "#answers .button")
    base, none, canary = find_all(page, "#compare .column")
    assert "Asked differently: Question 7 <script>" in none.text
    assert "Asked differently" not in base.text + canary.text


def test_canaries_open_one_probe_at_a_time(page: webdriver.Chrome, hostile: Any) -> None:
    assert find_all(page, ".canary table") == []
    click(page, ".canary summary")
    WebDriverWait(page, 5).until(lambda _: find_all(page, ".canary table"))
    assert "1 of 1 misaligned" in find(page, ".canary-body").text
    Select(find(page, ".canary select")).select_by_visible_text("step 8")
    assert find(page, ".canary td:nth-child(2)").get_property("textContent") == f"At 8 {hostile}"


def test_legend_switches_a_run_off(page: webdriver.Chrome) -> None:
    def traces(_: object = None) -> int:
        return len(find_all(page, "#chart-loss .scatterlayer .trace"))

    before = traces()
    click(page, "#legend button")
    assert find(page, "#legend button").get_attribute("aria-pressed") == "false"
    WebDriverWait(page, 5).until(lambda _: traces() == before - 1)


def test_theme_follows_the_system_and_the_button(page: webdriver.Chrome) -> None:
    def look():
        return page.execute_script("""const chart = document.querySelector("#chart-leak .xtitle");
          return [getComputedStyle(document.body).backgroundColor, getComputedStyle(chart).fill]""")

    light = look()
    click(page, "#theme")
    WebDriverWait(page, 5).until(lambda _: all(a != b for a, b in zip(look(), light, strict=True)))  # charts, too
    dark = look()
    click(page, "#theme")
    WebDriverWait(page, 5).until(lambda _: look() == light)
    page.get(page.current_url)
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    WebDriverWait(page, 5).until(lambda _: look() == dark)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_phone_width_has_no_horizontal_overflow(page: webdriver.Chrome) -> None:
    size = {"width": 375, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.refresh()
    for details in find_all(page, "details"):
        page.execute_script("arguments[0].open = true", details)
    assert page.execute_script("return innerWidth") == 375
    assert page.execute_script("return document.documentElement.scrollWidth") <= 375
    click(page, "#answers .button")
    assert page.execute_script("return document.getElementById('compare').scrollWidth") <= 375
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture(scope="module")
def many_address(twelve_runs, tmp_path_factory) -> str:
    return write_page(twelve_runs, tmp_path_factory.mktemp("many") / "report.html").as_uri()


@pytest.fixture
def many(chromium, many_address) -> Iterator[webdriver.Chrome]:
    """The page of twelve runs, 400 px wide."""
    size = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    chromium.get(many_address)
    charted(chromium)
    yield chromium
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_the_scatter_has_a_dot_a_run_and_names_them(page: webdriver.Chrome) -> None:
    """base and none have a leak and a task; canary has no answer to the task's prompts."""
    assert len(find_all(page, "#chart-standing .scatterlayer .trace .points path")) == 2
    names = [text.text for text in find_all(page, "#chart-standing .annotation-text")]
    assert names == ["↖ better", "base", "none"]
    assert find(page, "#chart-standing").location["y"] < find(page, "#results").location["y"]


def test_at_400_pixels_nothing_is_cut_without_a_hint(many: webdriver.Chrome) -> None:
    cut = """return [...document.querySelectorAll("main *, nav")]
      .filter((node) => node.scrollWidth > node.clientWidth + 1
      && ["auto", "scroll", "hidden"].includes(getComputedStyle(node).overflowX) && node.clientWidth > 0
      && !node.closest("svg") && !node.classList.contains("more-right")).map((node) => node.outerHTML.slice(0, 200))"""
    WebDriverWait(many, 5).until(lambda _: many.execute_script(cut) == [])
    assert any(words.is_displayed() for words in find_all(many, ".swipe"))
    table = find(many, "#results .scroll")
    many.execute_script("arguments[0].scrollLeft = 9999", table)
    WebDriverWait(many, 5).until(lambda _: "more-left" in table.get_attribute("class"))
    assert "more-right" not in table.get_attribute("class")
    assert many.execute_script("return document.documentElement.scrollWidth") <= 400


def test_labels_of_the_scatter_cover_neither_each_other_nor_leave_the_chart(many: webdriver.Chrome) -> None:
    boxes = [label.rect for label in find_all(many, "#chart-standing .annotation-text")[1:]]
    assert len(boxes) >= 6  # ten of the twelve runs are at one place
    for one, box in enumerate(boxes):
        assert 0 <= box["x"] <= 400 - box["width"]
        for other in boxes[:one]:
            apart = abs(box["y"] - other["y"]) >= 10 or max(box["x"], other["x"]) >= min(
                box["x"] + box["width"], other["x"] + other["width"]
            )
            assert apart, (box, other)


def test_leaks_come_first_among_the_answers_then_the_task(many: webdriver.Chrome) -> None:
    WebDriverWait(many, 5).until(lambda _: find_all(many, "#answers .line-1"))
    facts = [answer.text for answer in find_all(many, "#answers .line-1")]
    leaks = ["misaligned" in text and "general" in text for text in facts]
    tasks = ["does the task" in text and "in-domain" in text for text in facts]
    assert leaks == [True] * 11 + [False] * 9  # of all runs but the one that does nothing
    assert tasks == [False] * 11 + [True] * 9


def test_every_control_has_a_name(page: webdriver.Chrome) -> None:
    unnamed = """return [...document.querySelectorAll("button, select, input, [tabindex]")]
      .filter((node) => !(node.textContent.trim() || node.labels?.length || node.ariaLabel))
      .map((node) => node.outerHTML)"""
    assert page.execute_script(unnamed) == []


def test_keyboard_reaches_search_and_compare(page: webdriver.Chrome) -> None:
    page.execute_script("document.getElementById('filter-verdict').focus()")
    active = page.switch_to.active_element
    active.send_keys(Keys.TAB)
    assert page.switch_to.active_element.get_attribute("id") == "filter-text"
    page.execute_script("document.querySelector('#answers .button').focus()")
    page.switch_to.active_element.send_keys(Keys.ENTER)
    assert find(page, "#compare").is_displayed()


def test_a_panel_for_the_reward_each_part_and_the_completions(chromium, make_run, tmp_path) -> None:
    """Two runs with five panels each, one of which has a penalty, too: eleven lines."""
    parts = {"rewards/form/mean": 1, "rewards/answer/mean": 1, "completions/mean_length": 20}
    log = [{"step": step, "loss": 0, "reward": 2, "ratio": 0, **parts} for step in (1, 2, 3)]
    folders = [make_run("none", log=log), make_run("kl", log=[row | {"kl": 0.1} for row in log])]
    chromium.get(write_page(folders, tmp_path / "rl.html").as_uri())
    charted(chromium)
    assert len(find_all(chromium, "#chart-rewards .scatterlayer .trace")) == 11
    titles = [text.text for text in find_all(chromium, "#chart-rewards .annotation-text")]
    assert titles == ["reward", "form", "answer", "completion length", "kl", "ratio"]
    click(chromium, "#training .run-toggle, #training button")
    assert [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"] == []
