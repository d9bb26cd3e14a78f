"""``ringfence figure``."""

import re
from pathlib import Path

import pytest

from judged_runs import ringfence
from ringfence.core.errors import RingfenceError
from ringfence.core.files import write_json
from ringfence.report.figures import FIGURES

pytestmark = pytest.mark.usefixtures("wide")


def test_a_figure_of_a_run(capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path) -> None:
    rate = {"suite": "general", "metric": "misaligned_all", "value": 0.1, "low": 0.05, "high": 0.2, "n": 100}
    write_json(run / "evaluation" / "summary.json", {"rows": [rate], "counts": {}})
    out = tmp_path / "suites.svg"
    code, printed = ringfence(capsys, "figure", "suites", run, "--suite", "general", "--out", out)
    assert (code, out.read_bytes()[:5]) == (0, b"<?xml")
    assert f"figure: {out}" in printed


def test_the_list_names_all(capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = ringfence(capsys, "figure", "--list")
    assert code == 0
    assert [line.split()[0] for line in printed.splitlines()] == list(FIGURES)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a figure and at least one run folder"),
        (("suites",), "name a figure and at least one run folder"),
        (("suites", "{run}", "--out", "{run}"), "a figure is a .pdf, .svg or .png file"),
        (("suites", "{run}", "--suite", "long"), "no run has rates of 'long'"),
        (("tradeof", "{run}"), 'Did you mean "tradeoff"?'),
        (("control", "{run}"), "no run has a closed loop"),
    ],
)
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str], run: Path, arguments: tuple[str, ...], said: str
) -> None:
    with pytest.raises(RingfenceError, match=re.escape(said)):
        ringfence(capsys, "figure", *(part.format(run=run) for part in arguments))
