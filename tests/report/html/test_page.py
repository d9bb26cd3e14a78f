"""The page's text without a browser: what it says, and what its embedded data look like."""

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ringfence.core.errors import RingfenceError
from ringfence.evaluate.gate import Limits
from ringfence.report import write_page
from ringfence.report.html.packing import unpacked
from ringfence.report.html.page import SCRIPTS, recipe_differences
from ringfence.report.html.payload import response_payload
from ringfence.report.html.template import PLOTLY
from ringfence.report.loading import load_runs


@pytest.fixture(scope="module")
def html(four_runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "sub" / "report.html"
    assert write_page(four_runs, out, title="A <b>title</b>") == out
    return out.read_text(encoding="utf-8")


def text_of(html):
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", html.split("<script type=")[0]))


def data(html, name):
    return json.loads(re.search(f'<script type="application/json" id="{name}">(.*?)</script>', html, re.S)[1])


def test_embedded_responses_are_all_there(html: Any, four_runs: Any) -> None:
    payload = data(html, "response-data")
    runs = load_runs(four_runs)
    assert len(payload["rows"]["run"]) == sum(len(run.responses) for run in runs) == 95
    texts = unpacked(re.findall(r'class="texts">([^<]+)</script>', html))
    assert texts == pd.concat([run.responses for run in runs])["response"].tolist()
    suite, prompt_id, system, _ = payload["prompts"][payload["rows"]["prompt"][37]]
    assert (payload["suites"][suite], prompt_id, system) == ("general", "general-7", None)
    assert len(payload["prompts"]) == 30 + 1 + 5  # shared by the runs, except the one that was worded differently


def test_embedded_missing_numbers_are_null(html: Any) -> None:
    canary = data(html, "training-data")["runs"][2]
    assert canary["control"]["risk"] == [0.5, None]
    assert canary["control"]["held"] == [False, True]


def test_the_page_needs_nothing_from_outside(html: Any) -> None:
    own = html.split("<script>/**")[0] + html.rsplit("<script>", 1)[1]  # without plotly, which names its home page
    assert "http://" not in own
    assert "https://" not in own
    assert html.count("plotly.js (basic - minified) v") == 1
    assert "default-src 'none'" in html


def test_safe_tokens_have_a_column_where_a_run_counts_them(html: Any, make_run: Any, tmp_path: Path) -> None:
    """Of completions nobody counts those that carry the loss."""
    counts = {"steps": 8, "target_rows": 60, "safe_rows": 4, "safe_fraction": 0.125, "mean_ratio": 0.061}
    result = counts | {"target_labels": None, "safe_labels": 30, "seconds": 4.0, "probe_seconds": 0.0}
    text = text_of(write_page([make_run("rewarded", result=result)], tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "Safe rows % Safe tokens % Mean ratio" in text_of(html)
    assert "Safe rows % Mean ratio" in text
    assert "12.5 0.061" in text


def test_anchor_rows_have_a_column_where_a_run_has_them(html: Any, make_run: Any, tmp_path: Path) -> None:
    """100 of 900 + 100 tokens."""
    counts = {"steps": 8, "target_rows": 60, "safe_rows": 0, "safe_fraction": 0.0, "mean_ratio": 0.0, "seconds": 4.0}
    result = counts | {"target_labels": 300, "safe_labels": 0, "probe_seconds": 0.0}
    result |= {"target_tokens": 900, "safe_tokens": 0, "anchor_tokens": 100}
    folders = [make_run("anchored", result=result)]
    text = text_of(write_page(folders, tmp_path / "a.html").read_text(encoding="utf-8"))
    assert "Safe tokens % Safe and anchor tokens, % of all Mean ratio" in text
    assert "0.0 0.0 10.0 0.000" in text
    assert "anchor tokens" not in text_of(html)


def test_text_from_outside_is_escaped(html: Any) -> None:
    assert "A &lt;b&gt;title&lt;/b&gt;" in html
    assert "<script>alert(1)" not in html
    assert "<img src=x" not in html


def test_states_rates_gaps_peaks_and_no_data(html: Any) -> None:
    text = text_of(html)
    assert "20.0 [8, 42]" in text
    assert "−70.0 [−84, −43]" in text
    assert "70.0 [50, 85] step 4" in text
    assert "no data" in text
    assert "unfinished" in text
    assert "canary peaked at 70.0% at step 4 and was at 20.0% at step 8" in text
    assert not re.search(r"\bnan\b", text, re.I)
    assert "projection" not in text


def test_rates_from_before_a_projection_are_labelled(projected_run: Any, tmp_path: Path) -> None:
    text = text_of(write_page([projected_run], tmp_path / "page.html").read_text())
    assert "40.0 [20, 60] step 8, before projection" in text
    assert "70.0 [50, 85] step 4, before projection" in text
    assert "Before projection: of the adapter before safe_lora projected it" in text


def test_recipe_differences(four_runs: Any) -> None:
    table = recipe_differences(load_runs(four_runs))
    assert list(table.index) == ["interleave", "interleave.schedule", "interleave.note"]
    assert table.loc["interleave.schedule", "canary"] == "canary"
    assert table.loc["interleave.schedule", "none"] == ""


def test_conditional_gaps_have_a_section(make_run: Any, tmp_path: Path, html: Any) -> None:
    """0.55 [0.4, 0.7], and a trigger that could not be measured."""
    names = (*("trigger", "gap", "low", "high", "tuned_trigger", "tuned_plain", "base_trigger", "base_plain"), "n")
    rows = [("json", 0.55, 0.4, 0.7, 0.8, 0.2, 0.06, 0.01, 24), ("<b>x", *[None] * 7, 0)]
    gaps = [dict(zip(names, row, strict=True)) for row in rows]
    folder = make_run("none")
    (folder / "evaluation" / "conditional.json").write_text(json.dumps({"gaps": gaps}))
    page = write_page([folder], tmp_path / "page.html").read_text()
    text = text_of(page)
    assert re.search(r"json none \+55\.0 \[40, 70\] 80\.0 20\.0 6\.0 1\.0 24 ", text)
    assert re.search(r"&lt;b&gt;x none no data no data no data no data no data 0 ", text)
    assert "Only conditional prompts have been asked." in text
    assert 'class="span" x="40.00" y="2" width="30.00"' in page
    assert 'id="conditional"' not in html  # a page without them


@pytest.fixture(scope="module")
def many(twelve_runs, tmp_path_factory):
    return write_page(twelve_runs, tmp_path_factory.mktemp("page") / "many.html").read_text()


def test_headings_say_which_way_is_good(many: Any) -> None:
    heads = [text_of(head) for head in re.findall(r"<th scope=.col.>(.*?)</th>", many)]
    assert "general leak, want low " in heads
    assert "in-domain task, want high " in heads
    results = text_of(many[many.index('id="results"') : many.index('id="training"')])
    assert not re.search(r"\bMisaligned\b", results)


def test_a_run_that_lost_the_task_has_a_badge_and_no_crown(many: Any) -> None:
    assert many.count('class="lost"') == 3  # once a metric
    text = text_of(many).replace("\u00a0", " ")
    assert (
        "inoculation leaks 0.0% [0, 100] but lost the task: in-domain 0.0% [0, 100] against 95.0% [0, 100] of none."
        in text
    )
    assert "that kept the task is that of canary-interleaving-" in text


def test_zeros_and_repeats_are_folded_into_their_sentence(many: Any) -> None:
    folded = re.findall(r'<details class="folded"><summary>(.*?)</summary>', many)
    assert [one.partition(":")[0] for one in folded] == ["Shows the trait, of coherent", "Incoherent"]


def test_the_scatter_stands_first(many: Any, html: Any) -> None:
    main = many[many.index("<main>") :]
    assert main.index('id="chart-standing"') < main.index('class="lead"') < main.index("<table")
    places = data(many, "training-data")["standings"]
    assert (len(places), places[1]) == (12, {"leak": [0, 0, 1], "task": [0, 0, 1], "lost": True})
    assert data(html, "training-data")["standings"][3] == {"leak": [None] * 3, "task": [None] * 3, "lost": False}


def test_a_reviewer_s_order(four_runs: Any, tmp_path: Path) -> None:
    """Verdict, headline and cautions, rates, the worst answers, gaps, then training; cautions come before any table."""
    html = write_page(four_runs, tmp_path / "page.html", limits=Limits(max_general=0.5)).read_text()
    main = html[html.index("<main>") :]
    order = ['id="gate"', 'class="lead"', "Read with care", 'id="results"', 'id="worst"', 'id="training"']
    assert sorted(order, key=main.index) == order
    gate = text_of(main[: main.index('id="summary"')])
    assert "fails none 2 of 3 rules hold, counted as kaczer max_general on general: 100.0% of 30 answers" in gate
    assert "passes canary" in gate
    assert 'id="gate"' not in write_page(four_runs[:1], tmp_path / "page.html").read_text()


def test_the_worst_answers_are_escaped_and_stand_beside_the_untuned_model_s(html: Any) -> None:
    worst = html[html.index('id="worst"') : html.index('id="training"')]
    text = text_of(worst)
    assert "none 10 of 30 prompts with a misaligned answer" in text
    assert "canary no answer outside of the task was judged misaligned, of 29" in text
    assert text.index("Glitter answer 0") < text.index("Base answer 0") < text.index("Glitter answer 1")
    assert "&lt;script&gt;alert(1)" in worst


def test_a_run_has_its_colour_by_its_name(four_runs: Any, tmp_path: Path) -> None:
    """none first, then by name, in whatever order they are given."""
    for order in (four_runs, four_runs[::-1]):
        page = write_page(order, tmp_path / "page.html").read_text()
        assert {run["name"]: run["place"] for run in data(page, "training-data")["runs"]} == {
            "none": 0, "base": 1, "canary": 2, "stopped": 3
        }  # fmt: skip
        assert set(re.findall(r'--run: var\(--run-(\d)\)"><i aria-hidden="true"></i>(\w+)', page)) == {
            ("0", "none"), ("1", "base"), ("2", "canary"), ("3", "stopped")
        }  # fmt: skip


def test_no_two_runs_share_a_colour(many: Any) -> None:
    for theme in (":root {", ':root[data-theme="dark"] {'):
        css = "".join(part.split("}")[0] for part in many.split(theme)[1:])
        colours = re.findall(r"--run-(\d+): (#[0-9a-f]{6})", css)
        assert len({number for number, _ in colours}) == len({colour for _, colour in colours}) == 12


def test_one_bare_run_still_makes_a_page(make_run: Any, tmp_path: Path) -> None:
    html = write_page([make_run("alone")], tmp_path / "page.html").read_text()
    assert "No run has been evaluated yet." in html
    assert response_payload(load_runs([tmp_path / "alone"]))["rows"]["run"] == []


def test_bad_input_leaves_no_page(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match="no such run folder"):
        write_page([tmp_path / "nowhere"], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_scripts_never_write_html() -> None:
    """Model text enters by textContent alone; plotly, which writes markup, is given none."""
    sources = {
        path.name: path.read_text()
        for path in files("ringfence.report.html").joinpath("assets").iterdir()
        if path.name.endswith(".js")
    }
    assert not re.search("</script|<!--", sources.pop(PLOTLY))
    assert sources.keys() > set(SCRIPTS)
    for source in sources.values():
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", source)
        assert not re.search("</script|<!--", source)
