"""Curves over steps: what is drawn is what the journals hold."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ringfence.core.errors import RingfenceError
from ringfence.report import load_runs
from ringfence.report.figures import figure_of


def test_the_leak_during_training(four_runs: list[Path]) -> None:
    figure = figure_of("leak", load_runs(four_runs))
    drawn = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    assert drawn == {"none": pytest.approx([50, 90]), "canary": pytest.approx([70, 20])}


def test_the_closed_loop_with_its_thresholds(four_runs: list[Path]) -> None:
    figure = figure_of("control", load_runs(four_runs))
    risk, ratio = figure.axes
    np.testing.assert_array_equal(risk.lines[0].get_ydata(), [0.5, np.nan])
    assert risk.lines[1].get_ydata() == pytest.approx([0.25, 0.25])
    assert {line.get_ydata()[0] for line in risk.lines[2:]} == {0.08, 0.02}
    assert ratio.lines[0].get_ydata() == pytest.approx([0.04, 0.04])


def test_a_panel_for_each_part_of_a_reward(make_run: Callable[..., Path]) -> None:
    parts = {"rewards/exact_format/mean": 1.5, "rewards/number/mean": 0.5}
    log = [{"step": step, "reward": float(step), "completions/mean_length": 9.0, **parts} for step in (1, 2, 3)]
    figure = figure_of("rewards", load_runs([make_run("rl", log=log)]))
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title() for axis in shown] == ["reward", "exact_format", "number", "completion length"]
    assert shown[0].lines[0].get_ydata() == pytest.approx([1, 2, 3])


def test_a_panel_for_each_penalty_and_all_runs_in_the_legend(make_run: Callable[..., Path]) -> None:
    """No panel has both runs but that of the loss."""
    runs = []
    for name in ("kl", "ldifs"):
        log = [{"step": step, "task_loss": 2.0, name: step / 10} for step in (1, 2, 3)]
        runs.append(make_run(name, recipe={"defenses": [{name: {"weight": 1}}]}, log=log))
    figure = figure_of("penalties", load_runs(runs))
    drawn = {axis.get_title(): [line.get_label() for line in axis.lines] for axis in figure.axes}
    assert drawn == {"loss without penalties": ["kl", "ldifs"], "kl": ["kl"], "ldifs": ["ldifs"]}
    assert figure.axes[1].lines[0].get_ydata() == pytest.approx([0.1, 0.2, 0.3])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["kl", "ldifs"]


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("penalties", "no run has penalties"),
        ("control", "no run has a closed loop"),
        ("rewards", "no run has rewards"),
        ("leak", "measured general during"),
    ],
)
def test_runs_without_it_raise(make_run: Callable[..., Path], name: str, missing: str) -> None:
    run = make_run(
        "plain", rates=[{"suite": "general", "metric": "misaligned_all", "value": 0.1, "low": 0, "high": 1, "n": 9}]
    )
    with pytest.raises(RingfenceError, match=missing):
        figure_of(name, load_runs([run]))
