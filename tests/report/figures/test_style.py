"""One style: told apart without colours, fonts inside, whole files."""

from itertools import pairwise
from pathlib import Path

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.report.figures.style import Look, new_figure, paper_style, require_format, save


def grey(colour: str) -> float:
    """Luminance by ITU-R BT.709, 0 to 1."""
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_looks_differ_in_more_than_colour() -> None:
    looks = [Look.of(index) for index in range(35)]
    assert len({(look.colour, str(look.dash)) for look in looks}) == 35
    assert len({(look.marker, look.hollow) for look in looks[:14]}) == 14
    first = looks[:7]
    assert len({look.marker for look in first}) == len({look.hatch for look in first}) == 7
    assert all(a.dash != b.dash for a, b in pairwise(first))
    assert all(abs(grey(a.colour) - grey(b.colour)) > 0.01 for a, b in pairwise(first))


@pytest.mark.parametrize(("suffix", "begins"), [("pdf", b"%PDF"), ("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_a_file_is_whole_and_the_same_twice(tmp_path: Path, suffix: str, begins: bytes) -> None:
    files = [tmp_path / f"{name}.{suffix}" for name in "ab"]
    for file in files:
        with paper_style():
            figure, axes = new_figure(3.35, 2.0)
            axes[0][0].plot([0, 1], [1, 0], **Look.of(0).line)
            axes[0][0].set_xlabel("step")
            save(figure, file)
    first, second = (file.read_bytes() for file in files)
    assert first == second
    assert first.startswith(begins)
    if suffix == "pdf":
        assert b"/FontFile2" in first  # the font itself, as TrueType
    if suffix == "svg":
        assert b"<text" not in first  # letters are outlines
    assert sorted(tmp_path.iterdir()) == files  # nothing half-written beside them


def test_a_name_says_the_format(tmp_path: Path) -> None:
    assert require_format(tmp_path / "a.PDF") == "pdf"
    with pytest.raises(RingfenceError, match=r"a\.jpg: a figure is a \.pdf, \.svg or \.png file"):
        require_format(tmp_path / "a.jpg")
    (tmp_path / "b.pdf").mkdir()
    with pytest.raises(RingfenceError, match="is a folder"):
        require_format(tmp_path / "b.pdf")
