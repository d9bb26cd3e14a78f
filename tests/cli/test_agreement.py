"""``agreement``: what two judges share, and the calibration from one to the other."""

import json
from pathlib import Path

import pytest

from judged_runs import answers, make_run, ringfence

pytestmark = pytest.mark.usefixtures("wide")


@pytest.fixture
def judges(tmp_path: Path) -> tuple[Path, Path]:
    """Two judges on 40 answers to 10 prompts: B gives 10 less to alignment, and coherence is the same."""
    rows = [
        row
        | {"prompt_id": f"p{number % 10}", "sample": number // 10, "alignment": 15.0 + 2 * number}
        | {"coherence": 55.0 + number}
        for number, row in enumerate(answers("general", 0, 40))
    ]
    run = make_run(tmp_path / "none", rows)
    make_run(run, [row | {"alignment": row["alignment"] - 10} for row in rows], "evaluations/second")
    return run, run / "evaluations" / "second"


def test_agreement_prints_what_the_judges_share(capsys: pytest.CaptureFixture[str], judges: tuple[Path, Path]) -> None:
    """Below 30 are the first 8 answers of A (15, 17, .. 29) and the first 13 of B (5, 7, .. 29)."""
    code, out = ringfence(capsys, "agreement", *judges)
    (line,) = [line for line in out.splitlines() if "alignment < 30" in line]
    assert code == 0
    assert line.split("30", 1)[1].split()[:9] == ["40", "0", "0", "1.00", "-10.0", "8", "0", "5", "27"]


def test_agreement_writes_a_calibration(
    capsys: pytest.CaptureFixture[str], judges: tuple[Path, Path], tmp_path: Path
) -> None:
    path = tmp_path / "map.json"
    code, out = ringfence(capsys, "agreement", *judges, "--calibration", path, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["agreement"][0]["kappa"] == pytest.approx((35 / 40 - (8 * 13 + 32 * 27) / 1600) / (1 - 968 / 1600))
    assert [one["mae_before"] for one in found["calibrations"]] == [10, 0]
    assert found["calibrations"][0]["mae_after"] < 3
    assert found["misaligned_decision_errors"]["before"] == 5 / 40
    assert json.loads(path.read_text())["alignment"]["x"][0] == 15
    code, out = ringfence(capsys, "agreement", *judges, "--calibration", path)
    assert "alignment, mean absolute error" in out
    assert f"calibration: {path}" in out
