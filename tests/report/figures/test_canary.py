"""Risk and leak are matched by step; the correlation is that of the definition, its interval over whole runs."""

import math
from pathlib import Path

import numpy as np
import pytest

from ringfence.report import load_runs
from ringfence.report.figures import figure_of
from ringfence.report.figures.canary import LEAST, correlation, matched, said


def test_an_evaluation_has_the_last_risk_before_it(four_runs: list[Path]) -> None:
    runs = load_runs(four_runs)
    assert matched(runs[2], "general", "misaligned_all") == pytest.approx(np.array([[0.25, 0.7], [0.25, 0.2]]))
    assert matched(runs[1], "general", "misaligned_all").shape == (0, 2)
    figure = figure_of("canary", runs)
    assert figure.axes[0].lines[0].get_ydata() == pytest.approx([70, 20])
    assert figure.axes[0].get_title() == "no correlation from 2 points"


def test_the_correlation_by_hand() -> None:
    """Deviations (-1, 0, 1) and (-1, 1, 0): r = 1 / 2."""
    found = correlation([np.array([[0.0, 1.0], [1.0, 3.0], [2.0, 2.0]])])
    assert (found.value, found.n) == (pytest.approx(0.5), 3)
    assert math.isnan(found.low)
    assert said(found) == f"r = 0.50 (no interval below {LEAST} runs), 3 points"


def test_the_interval_is_over_runs() -> None:
    """Runs that are alike give a narrow one, however few points they have; one run that differs widens it."""
    line = np.array([[0.0, 0.1], [0.5, 0.4], [1.0, 0.9]])
    alike = correlation([line] * LEAST)
    assert alike.low == pytest.approx(alike.value) == alike.high
    other = line * [1.0, -1.0] + [0.0, 1.0]
    mixed = correlation([line] * (LEAST - 1) + [other])
    assert mixed.low < mixed.value < mixed.high
    assert "[" in said(mixed)
    assert math.isnan(correlation([np.ones((4, 2))] * LEAST).value)
