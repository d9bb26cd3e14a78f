"""What ``gate``, ``compare``, ``differences`` and ``agreement`` share: one line for bad input, help by example."""

from pathlib import Path

import pytest

from judged_runs import answers, make_run, ringfence
from ringfence.core.errors import RingfenceError

pytestmark = pytest.mark.usefixtures("wide")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("gate", "RUN"), "asks nothing"),
        (("gate", "RUN", "--max-general", "2"), "--max-general is 2"),
        (("gate", "RUN", "--max", "dressed"), "--max dressed: give SUITE=FRACTION"),
        (("gate", "RUN", "--min", "dressed=much"), "--min dressed=much: give SUITE=FRACTION"),
        (("gate", "RUN", "--min", "a=1", "--min", "a=0.5"), "a has a limit already"),
        (("gate", "RUN", "--max-conditional-gap", "0.1"), "untuned model"),
        (("gate", "RUN", "--max-general", "0.1", "--preset", "kacer"), 'Did you mean "kaczer"'),
        (("gate", "nowhere", "--max-general", "0.1"), "nowhere: no such run folder"),
        (("compare", "RUN", "--preset", "beltey"), 'Did you mean "betley"'),
        (("compare", "nowhere"), "nowhere: no such run folder"),
        (("differences", "nowhere"), "nowhere: no such run folder"),
        (("differences", "RUN", "--metric", "misaligned"), "--metric: unknown metric 'misaligned'"),
        (("differences", "RUN", "--suite", "genral"), 'Did you mean "general"'),
        (("differences", "RUN", "--baseline", "nobody"), 'baseline "nobody" is none of the runs'),
        (("agreement", "RUN", "nowhere"), "nowhere: no responses.parquet"),
        (("agreement", "RUN", "RUN", "--calibration", "map.json"), "there is nothing to calibrate"),
    ],
)
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    problem: str,
) -> None:
    made = make_run(tmp_path / "run", [row | {"coherence": 90.0} for row in answers("general", 20, 20)])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RingfenceError) as raised:
        ringfence(capsys, *(made if argument == "RUN" else argument for argument in arguments))
    assert problem in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    assert not (tmp_path / "map.json").exists()


@pytest.mark.parametrize("command", ["compare", "differences"])
def test_without_answers_it_says_what_to_do(capsys: pytest.CaptureFixture[str], run: Path, command: str) -> None:
    (run / "evaluation" / "responses.parquet").unlink()
    with pytest.raises(RingfenceError, match="no judged answers; run `ringfence evaluate"):
        ringfence(capsys, command, run)


@pytest.mark.parametrize("command", ["gate", "compare", "differences", "agreement"])
def test_every_command_teaches_by_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, out = ringfence(capsys, command, "--help")
    assert code == 0
    assert f"ringfence {command}" in out.split("Example")[1]
