"""What ``ringfence direction`` prints, from numbers made by hand: no data in words, no interval where there is none."""

import io
import math

import numpy as np
import pytest
from rich.console import Console

from ringfence.core.statistics import NO_INTERVAL, Interval
from ringfence.core.text_table import TextTable
from ringfence.directions.axis import Direction
from ringfence.directions.fitting import AtLayer, DirectionReport
from ringfence.directions.probe import LengthProbe, Separation, Stability
from ringfence.directions.sets import DatasetGroup, Representations
from ringfence.report.terminal.direction_tables import interval_text, means_table, number, worth_tables


def lines(*tables: TextTable) -> list[list[str]]:
    """The cells of every line, split where two spaces or more are."""
    console = Console(file=io.StringIO(), width=200)
    for table in tables:
        console.print(table)
    printed: str = console.file.getvalue()  # type: ignore[attr-defined]
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in printed.splitlines()]


def test_numbers_have_three_decimals_and_nan_has_words() -> None:
    assert (number(0.12345), number(math.nan)) == ("0.123", "no data")
    assert (interval_text(Interval(-0.5, 0.25)), interval_text(NO_INTERVAL)) == ("-0.500 to 0.250", "")


def test_means_of_each_set_leave_out_what_is_behind_them() -> None:
    """Of 1 and 3 the mean is 2 and s / sqrt(2) = 1; t for 95 % at one degree of freedom is 12.706."""
    row = {"messages": [], "origin": "x"}
    sets = DatasetGroup(("two", "one"), ((row, row), (row,)))  # type: ignore[arg-type]
    points = Representations({}, np.array([4, 5, 10, 99]))
    found = lines(means_table(sets, points, np.array([1.0, 3.0, -1.0, 50.0])))
    assert ["two", "2", "2.000", "-10.706 to 14.706", "4.5"] in found
    assert ["one", "1", "-1.000", "10.0"] in found, "one row has no interval"


@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c")])
def test_what_a_direction_is_worth(names: tuple[str, ...]) -> None:
    far, near = Separation(1.0, 3.25, 4, 5), Separation(0.75, math.nan, 4, 5)
    layer = AtLayer(2, 5.0, near, Stability(0.9, 0.8, 200))
    probe = LengthProbe(9, 0.5, -0.25, 0.4, math.nan, NO_INTERVAL, math.nan)
    pairs = tuple("ab"[: len(names) - 1])
    worth = DirectionReport(far, near, probe, (layer,), np.ones((1, 1)), pairs, np.full((3, 3), 0.5))
    direction = Direction(np.array([3.0, 4.0], np.float32), 2, "user", "base", "tiny", "none", {})
    found = lines(*worth_tables(direction, worth, names))
    assert ["A - B at layer 2 of tiny, length 5.000"] in found
    assert ["rows that it is fitted on", "1.000", "3.250", "4", "5"] in found
    assert ["held out", "0.750", "no data", "4", "5"] in found
    assert ["the same at equal length (partial)", "no data"] in found
    assert ["2", "5.000", "0.750", "0.900", "0.800", "1.000"] in found
    assert [["A", "a"] in found, ["B", "b"] in found] == [True, True]
    assert (["A - C", "0.500", "0.500", "0.500"] in found) == (len(names) > 2)
