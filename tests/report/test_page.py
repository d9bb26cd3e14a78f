"""The page's text without a browser: what it says, and what its embedded data look like."""

import json
import re
from importlib.resources import files

import pandas as pd
import pytest

from ringfence.core.errors import RingfenceError
from ringfence.report import write_page
from ringfence.report.page import SCRIPTS, recipe_differences
from ringfence.report.payload import response_payload, script_json
from ringfence.report.results import load_runs
from ringfence.report.summary import summarize_runs


@pytest.fixture(scope="module")
def html(four_runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "sub" / "report.html"
    assert write_page(four_runs, out, title="A <b>title</b>") == out
    return out.read_text(encoding="utf-8")


def data(html, name):
    return json.loads(re.search(f'<script type="application/json" id="{name}">(.*?)</script>', html, re.S)[1])


def test_script_json_escapes_and_round_trips():
    value = ["</script><!-- & \u2028\u2029 \ud800", float("nan"), "é"]
    text = script_json(value)
    assert not re.search("[<>&\u2028\u2029\ud800]", text)
    assert json.loads(text) == [value[0], None, "é"]


def test_embedded_responses_are_all_there(html, four_runs):
    payload = data(html, "response-data")
    runs = load_runs(four_runs)
    assert len(payload["rows"]["run"]) == sum(len(run.responses) for run in runs) == 95
    texts = pd.concat([run.responses for run in runs])["response"].tolist()
    assert payload["rows"]["response"] == texts
    suite, prompt_id, system, _ = payload["prompts"][payload["rows"]["prompt"][37]]
    assert (payload["suites"][suite], prompt_id, system) == ("general", "general-7", None)
    assert len(payload["prompts"]) == 30 + 1 + 5  # shared by the runs, except the one that was worded differently


def test_embedded_missing_numbers_are_null(html):
    canary = data(html, "training-data")["runs"][2]
    assert canary["control"]["risk"] == [0.5, None]
    assert canary["control"]["held"] == [False, True]


def test_the_page_needs_nothing_from_outside(html):
    own = html.split("<script>/**")[0] + html.rsplit("<script>", 1)[1]  # without plotly, which names its home page
    assert "http://" not in own
    assert "https://" not in own
    assert html.count("plotly.js v") == 1
    assert "default-src 'none'" in html


def test_text_from_outside_is_escaped(html):
    assert "A &lt;b&gt;title&lt;/b&gt;" in html
    assert "<script>alert(1)" not in html
    assert "<img src=x" not in html


def test_states_rates_gaps_peaks_and_no_data(html):
    text = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", html.split("<script type=")[0]))
    assert "20.0 [8, 42]" in text
    assert "−70.0 [−84, −43]" in text
    assert "70.0 [50, 85] step 4" in text
    assert "no data" in text
    assert "unfinished" in text
    assert "canary peaked at 70.0% at step 4 and ended at 20.0%" in text
    assert not re.search(r"\bnan\b", text, re.I)


def test_summary_sentences(four_runs):
    summary = summarize_runs(load_runs(four_runs))
    findings = " ".join(summary.findings).replace("\u00a0", " ")
    assert "On general prompts, 90.0% [74, 97] of the scored answers of none are misaligned." in findings
    assert "The untuned model base starts from 0.0% [0, 11]." in findings
    assert "canary with 20.0% [8, 42], 70.0 points below none." in findings
    assert "stopped is unfinished: it has no result.json." in summary.cautions
    assert "canary: answers that could not be scored: 4 of 30 on general." in summary.cautions


def test_a_peak_within_the_final_interval_is_no_news(make_run):
    """Peak 0.6 at step 4, final 0.5 [0.4, 0.7]: the final interval holds the peak. With [0.4, 0.55] it does not."""

    def cautions(name, high):
        rows = [(4, 0.6, 0.5, 0.8), (8, 0.5, 0.4, high)]
        names = ("step", "value", "low", "high")
        leak = {"suite": "general", "metric": "misaligned_all", "n": 20}
        folder = make_run(name, curve=[dict(zip(names, row, strict=True)) | leak for row in rows])
        return " ".join(summarize_runs(load_runs([folder])).cautions)

    assert "peak" not in cautions("wide", 0.7)
    assert "peaked at 60.0% at step 4" in cautions("narrow", 0.55)


def test_summary_calls_chance_chance(make_run):
    """0.5 [0.3, 0.7] against 0.6 [0.4, 0.8]: the gap is -0.1 with -0.1 +- sqrt(0.08), which includes 0."""
    rows = [("none", 0.6, 0.4, 0.8), ("b", 0.5, 0.3, 0.7)]
    folders = [
        make_run(
            name, rates=[dict(suite="x", metric="misaligned_all", value=v, low=low, high=high, n=20)], log=[{"step": 1}]
        )
        for name, v, low, high in rows
    ]
    assert "may be chance" in summarize_runs(load_runs(folders)).findings[-1]


def test_recipe_differences(four_runs):
    table = recipe_differences(load_runs(four_runs))
    assert list(table.index) == ["interleave", "interleave.schedule", "interleave.note"]
    assert table.loc["interleave.schedule", "canary"] == "canary"
    assert table.loc["interleave.schedule", "none"] == ""


def test_one_bare_run_still_makes_a_page(make_run, tmp_path):
    html = write_page([make_run("alone")], tmp_path / "page.html").read_text()
    assert "No run has been evaluated yet." in html
    assert response_payload(load_runs([tmp_path / "alone"]))["rows"]["run"] == []


def test_bad_input_leaves_no_page(tmp_path):
    with pytest.raises(RingfenceError, match="no such run folder"):
        write_page([tmp_path / "nowhere"], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_scripts_never_write_html():
    """Model text enters by textContent alone."""
    for name in SCRIPTS:
        source = files("ringfence.report").joinpath("assets", name).read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", source)
        assert not re.search("</script|<!--", source)
