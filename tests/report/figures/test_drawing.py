"""Figures by name, into files."""

from pathlib import Path

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.report import load_runs
from ringfence.report.figures import FIGURES, draw, figure_of


def test_a_file_of_a_figure(strengths: list[Path], tmp_path: Path) -> None:
    out = draw("cost", load_runs(strengths), tmp_path / "deep" / "cost.pdf")
    assert out.read_bytes().startswith(b"%PDF")


def test_a_bad_name_is_refused_before_anything_is_drawn(strengths: list[Path], tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"tradeof: no such figure.*Did you mean \"tradeoff\""):
        figure_of("tradeof", load_runs(strengths))
    with pytest.raises(RingfenceError, match="a figure is a"):
        draw("tradeoff", load_runs(strengths), tmp_path / "a.gif")
    assert list(tmp_path.glob("*.gif")) == []


def test_every_figure_says_what_it_shows() -> None:
    assert all(one.shows and one.make.__doc__ for one in FIGURES.values())
