"""What is printed of protocols and judges: names as they are, and no number where there is none."""

import math

import pandas as pd
import pytest
from rich.console import Console

from ringfence.evaluate.agreement import Agreement, Confusion
from ringfence.evaluate.compare import COLUMNS
from ringfence.evaluate.gate import GateResult, Reason
from ringfence.report.terminal import verdict_tables as protocols


@pytest.fixture
def console() -> Console:
    return Console(width=160, record=True)


def test_names_that_look_like_markup_are_printed(console: Console) -> None:
    reason = Reason("max", "[red]suite", math.nan, math.nan, 0.1, False, "no answers on [red]suite.")
    protocols.show_gate(console, GateResult(False, (reason,)), "kaczer")
    protocols.show_settings(console, {"[b]run": {"tan": ["samples: 1, not 100"]}})
    row = ("[b]run", "[red]suite", "kaczer", "misaligned_all", 0.25, 0.1, 0.5, 4, 0, 0)
    moves = pd.DataFrame([{"run": "[b]run", "suite": "[red]suite", "lowest": 0.25, "highest": 0.25, "moves": 0.0}])
    table = pd.DataFrame([row], columns=list(COLUMNS))
    protocols.show_comparison(console, table, moves, {"kaczer": "of all scored"})
    text = console.export_text()
    assert text.count("[red]suite") == 4
    assert text.count("[b]run") == 2
    assert "not as tan asks: samples: 1, not 100 ([b]run)" in text
    assert "25.0 [10, 50] of 4" in text
    assert "failed: 1 of 1 rules" in text


def test_a_run_without_a_suite_has_no_data_there(console: Console) -> None:
    rows = [(run, suite, "kaczer", "m", 0.5, 0.4, 0.6, 9, 0, 0) for run, suite in (("one", "a"), ("two", "b"))]
    moves = pd.DataFrame([{"run": run, "suite": suite, "moves": 0.0} for run, suite, *_ in rows])
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    protocols.show_comparison(console, table, moves, {"kaczer": "of all scored"})
    assert console.export_text().count("no data") == 4  # each of the two lacks a suite, and so its spread


def test_runs_that_differ_alike_share_a_line(console: Console) -> None:
    differ = {"one": {"tan": ["a", "b"], "fars": ["a"]}, "two": {"tan": ["a", "b"], "fars": ["c"]}}
    protocols.show_settings(console, differ)
    assert console.export_text().splitlines() == [
        "not as tan asks: a; b (one, two)",
        "not as fars asks: a (one)",
        "not as fars asks: c (two)",
    ]


def test_what_cannot_be_correlated_is_a_dash(console: Console) -> None:
    row = Agreement("misaligned", "alignment < 30", 0, 3, 4, math.nan, math.nan, Confusion(0, 0, 0, 0))
    protocols.show_agreement(console, [row])
    (line,) = [line for line in console.export_text().splitlines() if "misaligned" in line]
    assert line.split()[-10:] == ["0", "3", "4", "–", "–", "0", "0", "0", "0", "–"]
