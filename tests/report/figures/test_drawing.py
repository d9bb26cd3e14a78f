"""Figures by name, into files."""

from pathlib import Path

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.report import load_runs
from ringfence.report.figures import FIGURES, Asked, draw, figure_of
from ringfence.report.figures.style import Look


def test_a_file_of_a_figure(strengths: list[Path], tmp_path: Path) -> None:
    out = draw("cost", load_runs(strengths), tmp_path / "deep" / "cost.pdf")
    assert out.read_bytes().startswith(b"%PDF")


def test_a_bad_name_is_refused_before_anything_is_drawn(strengths: list[Path], tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"tradeof: no such figure.*Did you mean \"tradeoff\""):
        figure_of("tradeof", load_runs(strengths))
    with pytest.raises(RingfenceError, match="a figure is a"):
        draw("tradeoff", load_runs(strengths), tmp_path / "a.gif")
    assert list(tmp_path.glob("*.gif")) == []


def test_a_run_looks_alike_in_whatever_order_runs_are_given(four_runs: list[Path], strengths: list[Path]) -> None:
    for name, folders in (("leak", four_runs), ("cost", strengths), ("tradeoff", strengths)):
        looks = []
        for order in (folders, folders[::-1]):
            handles = figure_of(name, load_runs(order)).axes[0].get_legend_handles_labels()
            lines = {
                label: handle if hasattr(handle, "get_color") else handle[0]
                for handle, label in zip(*handles, strict=True)
            }
            looks.append({label: (line.get_color(), line.get_marker()) for label, line in lines.items()})
        assert looks[0] == looks[1]
        assert looks[0]["none"] == (Look.of(0).colour, Look.of(0).marker)


def test_a_figure_of_other_numbers_has_no_suites(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match="--suite: properties has no suites; leave it out"):
        figure_of("properties", {}, Asked(suites=("general",)))


def test_every_figure_says_what_it_shows() -> None:
    assert all(one.shows and one.make.__doc__ for one in FIGURES.values())
