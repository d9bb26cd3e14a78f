"""Leak and task against what they cost."""

import json
from pathlib import Path

import pytest

from ringfence.report import load_runs
from ringfence.report.figures import figure_of


def test_safe_tokens_and_time_of_every_trained_run(strengths: list[Path]) -> None:
    tokens, time, task, _ = figure_of("cost", load_runs(strengths)).axes
    drawn = {c.get_label(): (c.lines[0].get_xdata()[0], c.lines[0].get_ydata()[0]) for c in tokens.containers}
    assert drawn["kl-1"] == pytest.approx((10, 30))  # 100 of 1,000 labels
    assert drawn["none"] == pytest.approx((0, 80))
    assert {c.get_label(): c.lines[0].get_xdata()[0] for c in time.containers}["kl-1"] == pytest.approx(1.5)
    assert {c.get_label(): c.lines[0].get_ydata()[0] for c in task.containers}["kl-10"] == pytest.approx(30)


def test_anchor_rows_are_a_cost(strengths: list[Path]) -> None:
    result = {"target_tokens": 900, "safe_tokens": 0, "anchor_tokens": 100, "safe_labels": 0}
    values = json.loads((strengths[0] / "result.json").read_text()) | result
    (strengths[0] / "result.json").write_text(json.dumps(values))
    tokens = figure_of("cost", load_runs(strengths)).axes[0]
    drawn = {c.get_label(): c.lines[0].get_xdata()[0] for c in tokens.containers}
    assert drawn["none"] == pytest.approx(10)
