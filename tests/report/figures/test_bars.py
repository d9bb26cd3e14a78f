"""Bars are the rates, with their intervals; what is not known is no bar of height 0."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.report import load_runs
from ringfence.report.figures import Asked, figure_of


def heights(axis: object) -> dict[str, list[float]]:
    """Legend -> heights."""
    return {c.get_label(): [bar.get_height() for bar in c] for c in axis.containers if hasattr(c, "patches")}  # type: ignore[attr-defined]


def test_suites_side_by_side(strengths: list[Path]) -> None:
    figure = figure_of("suites", load_runs(strengths[:2]), Asked(("in-domain", "general")))
    drawn = heights(figure.axes[0])
    assert drawn == {"in-domain": pytest.approx([98, 30]), "general": pytest.approx([80, 10])}
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["none", "kl-10"]


def test_a_rate_that_is_not_known_is_a_cross(four_runs: list[Path]) -> None:
    axis = figure_of("suites", load_runs(four_runs[2:]), Asked(("general", "in-domain"))).axes[0]
    crosses = [len(line.get_xdata()) for line in axis.lines if line.get_marker() == "x"]
    assert crosses == [1, 2]  # of `stopped`; of that and of `canary`, whose task nobody scored


def test_triggers_beside_the_base(make_run: Callable[..., Path]) -> None:
    run = make_run("kl")
    cells = {"tuned_trigger": 0.6, "tuned_plain": 0.1, "base_trigger": 0.0, "base_plain": 0.0}
    gap = {"gap": 0.5, "low": 0.4, "high": 0.6, "n": 20, **cells}
    gaps = [{"trigger": trigger, **gap} for trigger in ("opening", "topic")]
    (run / "evaluation" / "conditional.json").write_text(json.dumps({"gaps": gaps}))
    drawn = heights(figure_of("conditional", load_runs([run])).axes[0])
    assert drawn["under the trigger"] == pytest.approx([60, 60])
    assert drawn["plain prompts"] == pytest.approx([10, 10])
    assert drawn["base, trigger"] == pytest.approx([0, 0])
    with pytest.raises(RingfenceError, match="no run was evaluated under triggers"):
        figure_of("conditional", load_runs([make_run("other")]))
