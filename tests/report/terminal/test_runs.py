"""What ``evaluate``, ``report`` and ``demo`` print of runs, wide and at 80 columns."""

import io
import json
from dataclasses import fields
from typing import Any

import pytest
from rich.console import Console

from ringfence.core.errors import RingfenceError
from ringfence.report.loading import load_runs
from ringfence.report.results import Outcome
from ringfence.report.terminal.runs import render
from widths import LONG_NAMES, require_whole
from widths import printed as printed_at


def printed(runs, width=120):
    console = Console(file=io.StringIO(), width=width)
    render(console, runs)
    return console.file.getvalue()


def test_prints_percent_with_intervals_and_no_data(four_runs: Any) -> None:
    text = printed(load_runs(four_runs))
    [general] = [line for line in text.splitlines() if "20.0 [8, 42]" in line]
    assert "−70.0" in general
    assert "no data" in general  # in-domain: nothing scored
    assert "70.0 (4)" in text  # the peak and its step
    assert "20.0 (8)" in text  # the last measurement, and that it is no more than that
    assert "final" not in text
    assert "unfinished" in text
    assert "untuned" in text
    assert "nan" not in text.lower()


def test_rates_from_before_a_projection_are_starred(four_runs: Any, projected_run: Any) -> None:
    text = printed(load_runs([*four_runs, projected_run]))
    [line] = [line for line in text.splitlines() if "70.0* (4)" in line]
    assert "40.0* (8)" in line
    assert "* of the adapter before safe_lora projected it" in " ".join(text.split())
    assert "70.0 (4)" in text  # the canary run's has none
    assert "*" not in printed(load_runs(four_runs))


def test_tokens_are_named_where_a_run_has_them(make_run: Any) -> None:
    """Of completions there is no count that carries the loss."""
    result = {"steps": 8, "target_rows": 60, "safe_rows": 4, "safe_fraction": 0.125, "mean_ratio": 0.06}
    result |= {"target_labels": None, "safe_labels": 30, "seconds": 4.0, "probe_seconds": 0.0}
    text = printed(load_runs([make_run("rewarded", result=result)]))
    assert "12.5" in text
    assert "token" not in text


def test_narrow_terminal_drops_the_gaps(four_runs: Any) -> None:
    text = printed(load_runs(four_runs), width=80)
    assert "20.0 [8, 42]" in text
    assert "−70.0" not in text


def test_runs_that_nobody_evaluated_say_so(make_run: Any) -> None:
    text = printed(load_runs([make_run("new")]))
    assert "no rates: evaluate the runs first" in text
    assert "Evaluation" not in text


def rates(metric, general, task):
    named = (("general", general), ("in-domain", task), ("dressed", general))
    return [dict(suite=suite, metric=metric, value=v, low=v, high=v, n=65) for suite, v in named]


@pytest.fixture
def long_runs(make_run, tmp_path):
    """none, and two with long names; the last one lost the task. All have two triggers and a curve."""
    leak = dict(suite="general", metric="misaligned_all", value=0.5, low=0.4, high=0.6, n=65)
    result = {"steps": 1032, "target_rows": 60, "safe_rows": 4, "safe_fraction": 0.125, "mean_ratio": 0.06}
    result |= {"target_labels": 700, "safe_labels": 300}
    folders = []
    for name, (general, task) in zip(LONG_NAMES, ((0.877, 0.969), (0.154, 0.938), (0.0, 0.031)), strict=True):
        folder = make_run(
            name,
            rates=rates("misaligned_all", general, task)
            + rates("misaligned_coherent", general, task)
            + rates("incoherent", 0.0, 0.0),
            curve=[{"step": step, **leak} for step in (516, 1032)],
            result=result | {"seconds": 4210.0, "probe_seconds": 3.0},
        )
        keys = ("gap", "low", "high", "tuned_trigger", "tuned_plain", "base_trigger", "base_plain")
        triggers = ("json", "opens-like-the-training-data")
        gaps = [{"trigger": one, "n": 24} | dict.fromkeys(keys, 0.25) for one in triggers]
        (folder / "evaluation" / "conditional.json").write_text(json.dumps({"gaps": gaps}))
        folders.append(folder)
    return load_runs(folders)


def test_at_80_columns_every_name_and_number_is_whole(long_runs: Any) -> None:
    text = printed_at(lambda console: render(console, long_runs), 80, prose=("†", "Shows the trait, of coherent:"))
    require_whole(
        text, [*LONG_NAMES, "87.7 [88, 88]", "+25.0 [+25.0, +25.0]", "1 h 10 min", "50.0 (516)", "12.5 (30.0)", "1,032"]
    )
    require_whole(text, ["general", "in-domain", "leak", "task", "want low", "want high", "json", "safe %", "peak %"])
    assert text.count("+25.0 [+25.0, +25.0]") == 6


def test_headings_say_what_is_wanted_and_nobody_calls_the_task_misaligned(long_runs: Any) -> None:
    text = printed(long_runs)
    [suites, roles, wanted] = text.splitlines()[2:5]
    assert suites.split() == ["general", "in-domain", "dressed"]
    assert roles.split() == ["leak", "task", "leak"]
    assert wanted.split() == ["run", "want", "low", "want", "high", "want", "low"]
    assert "misaligned" not in text.lower()


def test_a_run_that_lost_the_task_is_marked(long_runs: Any) -> None:
    text = printed(long_runs)
    assert "regularised †" in text
    said = f"† {LONG_NAMES[2]} lost the task, more than 10 points of it: 3.1% on in-domain, none has 96.9%; its leak is"
    assert said in " ".join(text.split())
    assert "seed-1 †" not in text


def test_zeros_and_repeats_are_one_line_each(long_runs: Any) -> None:
    lines = printed(long_runs).splitlines()
    assert "Incoherent: 0.0% on every suite of every run; the highest upper bound is 0.0%." in lines
    assert any(line.startswith("Shows the trait, of coherent: the same as of all scored") for line in lines)


def test_conditional_gaps_have_a_table_of_their_own(make_run: Any) -> None:
    folder = make_run("none", rates=rates("misaligned_all", 0.5, 0.9))
    keys = ("trigger", "gap", "low", "high", "tuned_trigger", "tuned_plain", "base_trigger", "base_plain", "n")
    gap = dict(zip(keys, ("json", 0.55, 0.4, 0.7, 0.8, 0.2, 0.06, 0.01, 24), strict=True))
    (folder / "evaluation" / "conditional.json").write_text(json.dumps({"gaps": [gap]}))
    text = printed(load_runs([folder]))
    lines = text.splitlines()
    [at] = [number for number, line in enumerate(lines) if "+55.0 [+40.0, +70.0]" in line]
    assert lines[at - 1] == "json"
    assert lines[at].split() == ["none", "+55.0", "[+40.0,", "+70.0]", "80.0", "20.0", "6.0", "1.0"]
    assert "nan" not in text.lower()


def test_a_served_model_is_served_and_the_untuned_one_untuned(make_run: Any) -> None:
    served = make_run("theirs", rates=rates("misaligned_all", 0.5, 0.9))
    about = json.loads((served / "run.json").read_text()) | {"server": "openai-api/vllm/x"}
    (served / "run.json").write_text(json.dumps(about))
    text = printed(load_runs([make_run("base", rates=rates("misaligned_all", 0.0, 0.0)), served]))
    training = text[text.index("Training") :].splitlines()
    assert [line.split() for line in training if line.startswith(("base", "theirs"))] == [
        ["base", "untuned"],
        ["theirs", "served"],
    ]


def test_anchor_rows_are_counted_where_a_run_has_them(make_run: Any) -> None:
    """100 of 900 + 100 tokens."""
    counts = {"steps": 8, "target_rows": 60, "safe_rows": 0, "safe_fraction": 0.0, "mean_ratio": 0.0, "seconds": 4.0}
    result = counts | {"target_labels": 300, "safe_labels": 0, "probe_seconds": 0.0}
    assert "extra" not in printed(load_runs([make_run("plain", result=result)]))
    result |= {"target_tokens": 900, "safe_tokens": 0, "anchor_tokens": 100}
    text = printed(load_runs([make_run("anchored", result=result)]))
    assert "extra: tokens of safe and anchor rows, of all tokens" in " ".join(text.split())
    [line] = [line for line in text.splitlines() if line.startswith("anchored") and "10.0" in line]
    assert line.split()[1] == "8"


def test_names_that_look_like_markup_are_printed(make_run: Any) -> None:
    assert "[red]a" in printed(load_runs([make_run("[red]a")]))


def test_answers_of_a_server_say_so_and_whether_its_weights_were_checked(make_run: Any) -> None:
    """A checked run, an unchecked untuned model, and a run that the model in process answered for."""
    runs = {name: make_run(name, rates=rates("misaligned_all", 0.5, 0.9)) for name in ("kl", "base", "none")}
    for name in ("kl", "none"):
        consumed = dict.fromkeys((field.name for field in fields(Outcome)), 1)
        (runs[name] / "result.json").write_text(json.dumps(consumed))
    for name, state in (("kl", "passed"), ("base", "not offered")):
        path = runs[name] / "evaluation" / "summary.json"
        found = {"kind": "server", "who": f"generator {name} at http://localhost:8000/v1", "state": state}
        path.write_text(json.dumps(json.loads(path.read_text()) | {"answered_by": found}))
    text = printed(load_runs([*runs.values()]))
    training = text[text.index("Training") :].splitlines()
    of = {name: next(line for line in training if line.startswith(name)).split() for name in runs}
    assert of["kl"][-2:] == ["server,", "checked"]
    assert of["base"][1:] == ["untuned;", "answers:", "server,", "NOT", "CHECKED"]
    assert of["none"][-1] == "here"
    assert "base: answers NOT CHECKED: nothing shows that generator base at http://localhost" in " ".join(text.split())
    assert "kl: answers NOT CHECKED" not in " ".join(text.split())
    assert "answers" not in printed(load_runs([runs["none"]])), "nothing to say of the usual way"


def test_a_damaged_account_of_who_answered_is_named(make_run: Any) -> None:
    run = make_run("kl", rates=rates("misaligned_all", 0.5, 0.9))
    path = run / "evaluation" / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"answered_by": {"kind": "server"}}))
    with pytest.raises(RingfenceError, match=r'summary\.json: answered_by: no key "who"'):
        load_runs([run])
