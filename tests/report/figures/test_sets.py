"""Properties of data sets: bars are the numbers of the file, whatever file it is."""

from pathlib import Path
from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.core.files import write_json
from ringfence.report.figures import figure_of, read
from ringfence.select.properties import Domains, Languages, Properties, mean, plain, share


def numbers(**sets: Any) -> dict[str, Any]:
    """As ``ringfence data properties --json`` writes them; a set is its HHH scores, or None without a judge."""
    made = {}
    for name, scores in sets.items():
        found = Properties(
            rows=10, hhh=None if scores is None else mean(scores), user_tokens=mean([10.0, 20.0]),
            assistant_tokens=mean([100.0, 300.0]), domains=Domains(3.0, {"a": 10}, 0, "column"),
            duplicates=share([True] * 2 + [False] * 8), near_duplicates=share([False] * 10), overlap_exact=None,
            overlap_near=None, refusals=share([True] + [False] * 9), languages=Languages("en", share([True]), {}, 0),
        )  # fmt: skip
        made[name] = plain(found)
    return {"about": {}, "sets": made}


def heights(axis: Any) -> dict[str, list[float]]:
    """Legend -> heights."""
    return {c.get_label(): [bar.get_height() for bar in c] for c in axis.containers if hasattr(c, "patches")}


def test_four_properties_and_the_shares(tmp_path: Path) -> None:
    write_json(tmp_path / "properties.json", numbers(mine=[60.0, 80.0], theirs=None))
    figure = figure_of("properties", read("properties", [tmp_path]))  # the folder
    panels = {axis.get_title(): axis for axis in figure.axes}
    assert heights(panels["P2 user tokens"]) == {"mine": pytest.approx([15]), "theirs": pytest.approx([15])}
    assert heights(panels["P3 answer tokens"])["mine"] == pytest.approx([200])
    assert heights(panels["P4 domains"])["theirs"] == pytest.approx([3])
    scores = panels["P1 HHH score"]
    assert heights(scores)["mine"] == pytest.approx([70])
    assert [line.get_marker() for line in scores.lines if len(line.get_xdata())][-1] == "x"  # no judge is no score of 0
    shares = panels[""]
    assert [label.get_text() for label in shares.get_xticklabels()] == ["duplicates", "near-duplicates", "refusals"]
    assert heights(shares)["mine"] == pytest.approx([20, 0, 10])


def test_sets_of_several_files(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", numbers(a=None))
    write_json(tmp_path / "b.json", numbers(b=None))
    assert list(read("properties", [tmp_path / "a.json", tmp_path / "b.json"])) == ["a", "b"]
    figure = figure_of("properties", read("properties", [tmp_path / "a.json"]))
    assert [text.get_text() for text in figure.axes[0].texts] == ["not measured"]
    with pytest.raises(RingfenceError, match=r"b\.json: a set 'b' is in an earlier file, too"):
        read("properties", [tmp_path / "b.json", tmp_path / "b.json"])


@pytest.mark.parametrize("text", ["[]", "{}", '{"sets": {}}', '{"sets": {"a": {"rows": 3}}}', "{"])
def test_another_file_is_refused_with_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(RingfenceError, match=r"x\.json.*ringfence data properties") as caught:
        read("properties", [tmp_path / "x.json"])
    assert "\n" not in str(caught.value)
