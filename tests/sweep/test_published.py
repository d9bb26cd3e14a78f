"""A paper's numbers: read strictly, and each with a counterpart."""

from pathlib import Path

import pytest

import sweeps
from ringfence.core.errors import RingfenceError
from ringfence.sweep.plan import SweepPlan
from ringfence.sweep.published import Published, load_published, require_counterparts, without_numbers

HEAD = "table,row,column,value,spread,source\n"
ROW = "sweep,none,general/misaligned_all,1.50,0.2,table 1\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "published.csv"
    path.write_text(text)
    return path


def test_numbers_are_read_with_their_lines(tmp_path: Path) -> None:
    found = load_published(write(tmp_path, f'# ours\n{HEAD}{ROW}\nsweep,kl,general/incoherent,-2,,"table 1, left"\n'))
    assert found == (
        Published("sweep", "none", "general/misaligned_all", 1.5, 0.2, "table 1", 3),
        Published("sweep", "kl", "general/incoherent", -2.0, None, "table 1, left", 5),
    )
    assert load_published(write(tmp_path, HEAD)) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "published.csv: is empty; its first line is table,row,column,value,spread,source"),
        ("table,row,value\n", "published.csv:1: the columns are table,row,value, and not"),
        (HEAD + "a,b,c,1\n", "published.csv:2: 4 cells, and not 6"),
        (HEAD + "a,b,c,1.2.3,,t\n", "published.csv:2: value: '1.2.3' is no finite number"),
        (HEAD + "a,b,c,nan,,t\n", "published.csv:2: value: 'nan' is no finite number"),
        (HEAD + "a,b,c,1,x,t\n", "published.csv:2: spread: 'x' is no finite number"),
        (HEAD + "a,,c,1,,t\n", "published.csv:2: row is empty"),
        (HEAD + "a,b,c,1,,\n", "published.csv:2: source is empty"),
        (HEAD + ROW + "\n" + ROW, "published.csv:4: sweep none general/misaligned_all is in line 2 already"),
    ],
)
def test_faults_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RingfenceError, match=message):
        load_published(write(tmp_path, text))


def test_a_missing_file_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"published.csv: cannot read the published numbers"):
        load_published(tmp_path / "published.csv")


def test_every_number_has_a_run_and_runs_without_numbers_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + ROW)
    plans = [SweepPlan.load(sweeps.write(tmp_path, grid={"method": {"none": {}, "kl": {}}}))]
    found = load_published(path)
    require_counterparts(found, plans, path)
    assert without_numbers(found, plans) == {"sweep": ("kl",)}
    for text, message in (
        ("sweap,none,a,1,,t", 'published.csv:2: no sweep is called sweap. Did you mean "sweep"'),
        ("sweep,nome,a,1,,t", 'published.csv:2: sweep has no row .nome.\\. Did you mean "none"'),
    ):
        with pytest.raises(RingfenceError, match=message):
            require_counterparts(load_published(write(tmp_path, HEAD + text)), plans, path)
