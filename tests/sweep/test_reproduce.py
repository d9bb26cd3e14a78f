"""A paper's numbers beside ours, found by the table's name."""

import math
from pathlib import Path

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.core.rates import Rate
from ringfence.sweep.measured import Measured
from ringfence.sweep.plan import SweepPlan
from ringfence.sweep.reproduce import compared, find_table, tables, unfilled, write_tables

NUMBERS = """# of a test
table,row,column,value,spread,source
table-1,none,general/misaligned_all,19.37,1.26,table 1
table-1,kl_1,general/misaligned_all,7,,table 1
table-2,none,general/misaligned_all,5,,table 2
"""


@pytest.fixture
def paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of recipes where one works."""
    folder = tmp_path / "recipes" / "some-2026"
    folder.mkdir(parents=True)
    (folder / "published.csv").write_text(NUMBERS)
    (folder / "table-1.yaml").write_text("shows: x\nsource: y\nrecipe: r.yaml\ngrid: {method: {none: {}, kl_1: {}}}\n")
    (folder / "r.yaml").write_text("data: {target: a.jsonl}\n")
    monkeypatch.chdir(tmp_path)
    return folder


def test_tables_are_found_by_name(paper: Path) -> None:
    assert find_table("some-2026/table-1") == find_table("some2026/table1") == Path("recipes/some-2026/table-1.yaml")
    assert "some-2026/r" not in tables()
    assert "kaczer-2025/table-2" in tables()  # of the package, beside those where one works
    with pytest.raises(RingfenceError, match=r"some-2026/table-9: no such table; .*table-1"):
        find_table("some-2026/table-9")


def test_ours_beside_theirs_with_the_difference(paper: Path, tmp_path: Path) -> None:
    ours = Measured(Rate(21.37, 18.0, 25.5, 3), 0.5)
    summary = {"none": {"general/misaligned_all": ours}}
    first, second = lines = compared(SweepPlan.load(paper / "table-1.yaml"), summary)
    assert unfilled(lines, summary, paper / "published.csv") == []
    other = {"none": {"general/misaligned": ours}}
    (told,) = unfilled(compared(SweepPlan.load(paper / "table-1.yaml"), other), other, paper / "published.csv")
    assert told == (
        f"{paper}/published.csv:3: row none is measured, and has no column general/misaligned_all. Did you mean "
        '"general/misaligned"?'
    )
    assert first.difference == pytest.approx(2.0)
    assert first.cells == ("none", "general/misaligned_all", "19.37 ± 1.26", "21.4 [18, 25.5] ± 0.5", "+2")
    assert math.isnan(second.difference)
    assert second.cells == ("kl_1", "general/misaligned_all", "7", "not measured", "")
    markdown, table, latex = (path.read_text() for path in write_tables([first, second], tmp_path, "table-1"))
    assert "| kl_1 | general/misaligned_all | 7 | not measured |  |" in markdown
    assert table.splitlines()[1] == "none,general/misaligned_all,19.37,1.26,21.37,18,25.5,0.5,3,2,table 1"
    assert table.splitlines()[2] == "kl_1,general/misaligned_all,7,,,,,,,,table 1"
    assert r"kl\_1 & general/misaligned\_all & 7 & not measured &  \\" in latex
    assert r"19.37 $\pm$ 1.26" in latex


def test_a_number_without_a_row_is_named_with_its_line(paper: Path) -> None:
    with (paper / "published.csv").open("a") as file:
        file.write("table-1,kl_2,general/misaligned_all,7,,table 1\n")
    with pytest.raises(RingfenceError, match=r"published\.csv:6: table-1 has no row 'kl_2'\. Did you mean \"kl_1\"\?"):
        compared(SweepPlan.load(paper / "table-1.yaml"), {})
