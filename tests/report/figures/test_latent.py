"""The map of data sets: every row is in every panel, and what nobody measured is grey."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from ringfence.core.errors import RingfenceError
from ringfence.core.files import write_json
from ringfence.report.figures import figure_of, read
from ringfence.report.figures.latent import UNKNOWN
from ringfence.report.html.latent import Latent, map_payload


def written(folder: Path, em: dict[str, float]) -> Path:
    """A map of three sets of two rows each and one prompt, as ``direction plot --json`` writes it."""
    latent = Latent(
        ("b", "a", "c"), np.repeat([0, 1, 2], 2), [f"x:{n}" for n in range(6)], np.arange(6.0), np.arange(6) + 10, em,
        ["p:1"], np.array([0.5]),
    )  # fmt: skip
    path = folder / "map.json"
    write_json(path, {"about": [], **map_payload(latent, np.arange(6), np.arange(14.0).reshape(7, 2))})
    return path


def test_a_panel_by_set_and_one_for_each_number(tmp_path: Path) -> None:
    figure = figure_of("latent", read("latent", [written(tmp_path, {"b": 0.25})]))
    panels = {axis.get_title(): axis for axis in figure.axes if axis.get_title()}
    assert list(panels) == ["set", "projection", "tokens", "measured EM, %"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["b", "a", "c", "evaluation prompts"]
    np.testing.assert_array_equal(panels["projection"].collections[1].get_array(), np.arange(6))
    unknown, known = panels["measured EM, %"].collections[:2]
    assert (len(unknown.get_offsets()), to_hex(unknown.get_facecolor()[0])) == (4, UNKNOWN.lower())
    assert known.get_array().tolist() == [25, 25]
    assert panels["tokens"].lines[0].get_xydata().tolist() == [[12, 13]]


def test_without_measured_em_there_are_three(tmp_path: Path) -> None:
    figure = figure_of("latent", read("latent", [written(tmp_path, {})]))
    assert [axis.get_title() for axis in figure.axes if axis.get_title()] == ["set", "projection", "tokens"]


@pytest.mark.parametrize("part", ["rows", "marks", "sets"])
def test_another_file_is_refused(tmp_path: Path, part: str) -> None:
    good = read("latent", [written(tmp_path, {})])
    write_json(tmp_path / "map.json", {key: value for key, value in good.items() if key != part})
    with pytest.raises(RingfenceError, match=r"map\.json: not the map of data sets; write it by"):
        read("latent", [tmp_path / "map.json"])


def test_columns_of_other_lengths_and_two_files(tmp_path: Path) -> None:
    path = written(tmp_path, {})
    good = read("latent", [path])
    write_json(path, {**good, "rows": {**good["rows"], "x": [1.0]}})
    with pytest.raises(RingfenceError, match="the columns of rows are not of one length"):
        read("latent", [path])
    with pytest.raises(RingfenceError, match="draws one map, and 2 files are given"):
        read("latent", [path, path])
