"""``ringfence report``: verdicts where limits are given, and what it refuses."""

from pathlib import Path

import pandas as pd
import pytest

import project


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """One of 40 answers is misaligned: 2.5%, and at most 13% by the interval."""
    folder = tmp_path / "none"
    (folder / "evaluation").mkdir(parents=True)
    (folder / "run.json").write_text('{"name": "none", "recipe": {"name": "none", "model": "tiny"}}')
    (folder / "log.jsonl").write_text('{"step": 1}\n')
    rows = [
        {"suite": "general", "prompt_id": f"p{at}", "sample": 0, "system": None, "prompt": f"Q{at}?", "response": "x"}
        | {"alignment": 90.0 if at else 5.0, "coherence": 90.0, "bucket": None, "verdict": None}
        for at in range(40)
    ]
    pd.DataFrame(rows).to_parquet(folder / "evaluation" / "responses.parquet")
    return folder


def test_limits_put_the_gate_s_verdict_on_the_page(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 0, whatever it says."""
    page = tmp_path / "page.html"
    code, out, err = project.in_process(capsys, "report", run, "--out", page, "--max-general", "0.2")
    assert code == 0, err
    assert "none: passes" in out
    code, out, err = project.in_process(capsys, "report", run, "--out", page, "--max", "general=0.05")
    assert (code, "none: fails" in out) == (0, True), err
    assert 'class="gate open"' in page.read_text(encoding="utf-8")
    code, out, err = project.in_process(capsys, "report", run, "--out", page)
    assert (code, "none: " in out, 'id="gate"' in page.read_text(encoding="utf-8")) == (0, False, False), err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--max-general", "2"], "--max-general is 2: a limit is a fraction from 0 to 1"),
        (["--max", "general"], "--max general: give SUITE=FRACTION"),
        (
            ["--max-conditional-gap", "0.1"],
            "--max-conditional-gap compares with the untuned model, which was not",
        ),
        (["--min-benign", "0.9"], "--min-benign compares with a run without a defense"),
    ],
)
def test_bad_limits(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    code, _, err = project.in_process(capsys, "report", run, "--out", tmp_path / "page.html", *arguments)
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert said in err
    assert not (tmp_path / "page.html").exists()


def test_a_card_without_an_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, and no file."""
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "run.json").write_text('{"name": "bare", "recipe": {"name": "bare"}}')
    code, out, err = project.in_process(capsys, "card", bare, "--out", tmp_path / "card.md")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{bare}: has no evaluation to write a card of; run `ringfence evaluate` on it first" in err
    assert not (tmp_path / "card.md").exists()
