"""Every table of judged answers and of sets at 80 columns, with long names: whole words, whole numbers, every cell."""

from typing import Any

import pandas as pd
import pytest

from ringfence.core.text_table import TextTable
from ringfence.evaluate.agreement import Agreement, Confusion
from ringfence.evaluate.calibration import Calibration, DecisionErrors
from ringfence.evaluate.compare import COLUMNS
from ringfence.evaluate.gate import GateResult, Reason
from ringfence.report.differences import differences
from ringfence.report.loading import load_runs
from ringfence.report.terminal import verdict_tables as protocols
from ringfence.report.terminal.difference_tables import show_differences
from widths import LONG_NAMES, printed, require_whole

SUITES = ("general", "in-domain", "conditional/opens-like-the-training-data")


@pytest.fixture
def long_runs(seeded):
    return load_runs(
        [
            seeded(name.replace("/", "+"), [9 - number, 4, 7, 2, number], k=number)
            for number, name in enumerate(LONG_NAMES)
        ]
    )


def test_gate() -> None:
    why = "12.3% [4.5, 23.1] of 65 answers are misaligned, and the upper bound is above 0.05; 400 prompts would do"
    reasons = [Reason("max_conditional_gap", suite, 0.1, 0.2, 0.1, False, why) for suite in SUITES]
    text = printed(lambda console: protocols.show_gate(console, GateResult(False, tuple(reasons)), "kaczer"))
    require_whole(text, ["FAIL", "rule", "max_conditional_gap", *SUITES[:2], *why.split()])


def test_compare() -> None:
    rows = [
        (run, suite, preset, "misaligned_all", 0.477, 0.36, 0.59, 6500, 2, 0)
        for run in LONG_NAMES
        for suite in SUITES
        for preset in ("kaczer", "dubinski")
    ]
    moves = pd.DataFrame([{"run": run, "suite": suite, "moves": 0.1} for run in LONG_NAMES for suite in SUITES])
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    rules = {"kaczer": "of all scored", "dubinski": "of the coherent"}
    text = printed(lambda console: protocols.show_comparison(console, table, moves, rules))
    require_whole(text, ["47.7 [36, 59] of 6,500", "kaczer", "dubinski", "moves", "10.0", *SUITES[:2], *LONG_NAMES])
    assert text.count("47.7 [36, 59] of 6,500") == len(rows)


def test_agreement_and_calibration() -> None:
    row = Agreement("misaligned", "alignment < 30 and coherence > 50", 123456, 3, 4, 0.98, -1.2, Confusion(1, 2, 3, 4))
    maps = [Calibration("alignment", (0.0, 1.0), (0.0, 1.0), 1234, 24, 5.5, 3.2)]

    def show(console):
        protocols.show_agreement(console, [row])
        protocols.show_calibrations(console, maps, DecisionErrors(0.123, 0.045, 1234))

    text = printed(show)
    require_whole(
        text, ["123,456", "0.98", "-1.2", "unscored", "Spearman", "kappa", "only A", "12.3 %", "4.5 %", "1,234"]
    )


def test_differences(long_runs: Any) -> None:
    found = differences(long_runs, influence=True)
    text = printed(lambda console: show_differences(console, found), prose=("one seed of",))
    require_whole(text, ["general", "p, Holm", "prompts", "detectable", "answers", "44.0 [7, 87]", "without"])
    [row, _] = found.rows
    assert text.count(f"{100 * abs(row.value):.1f} [") >= 1
    assert all("[" not in line or "]" in line for line in text.splitlines() if "interval" not in line)


def test_a_key_of_many_columns_is_repeated() -> None:
    table = TextTable("Cosines", ["layer", *map(str, range(12))])
    for layer in range(12):
        table.add(str(layer), *["−0.123"] * 12)
    text = printed(lambda console: console.print(table))
    assert text.count("−0.123") == 144
    assert text.count("layer") == 2
