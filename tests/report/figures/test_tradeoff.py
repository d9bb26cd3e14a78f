"""One line a defense, in the order of its strength."""

from pathlib import Path

import pytest

from ringfence.report import load_runs
from ringfence.report.figures import figure_of


def test_a_defense_is_a_line_from_weak_to_strong(strengths: list[Path]) -> None:
    figure = figure_of("tradeoff", load_runs(strengths))
    incoherent, task = figure.axes
    lines = {container.get_label(): container.lines[0] for container in task.containers}
    assert set(lines) == {"none", "kl"}
    assert lines["kl"].get_xdata() == pytest.approx([97, 90, 30])
    assert lines["kl"].get_ydata() == pytest.approx([70, 30, 10])
    assert lines["none"].get_xdata() == pytest.approx([98])
    assert incoherent.containers[1].lines[0].get_xdata() == pytest.approx([2, 2, 2])
    across, up = (collection.get_segments() for collection in task.containers[1].lines[2])
    assert across[0][:, 0] == pytest.approx([87, 100])  # the interval of the weakest on the task
    assert up[0][:, 1] == pytest.approx([60, 80])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["none", "kl"]
