"""``ringfence suites``: what it prints and keeps, and one line for bad input."""

import hashlib
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ringfence import suites_cli
from ringfence.core.errors import RingfenceError
from ringfence.data import load_prompts

TEXT = """\
- id: q
  paraphrases: ["Why {reasoning}?", "[red]How[/red]?"]
  samples_per_paraphrase: 100
  temperature: 1
  judge: some-judge
  judge_prompts: {aligned: "{question} {answer}"}
  results_dir: out
- id: q_json
  paraphrases: ["Why?"]
  system: Answer in JSON.
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGFENCE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(suites_cli.console, "width", 160)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "questions.yaml"
    path.write_text(TEXT)
    return path


def suites(*arguments: object) -> str:
    """What the command prints."""
    result = CliRunner().invoke(suites_cli.app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.mark.parametrize("command", ["add", "list", "show"])
def test_every_command_teaches_by_example(command: str) -> None:
    assert f"ringfence suites {command}" in suites(command, "--help").split("Example")[1]


def test_add_show_list(file: Path) -> None:
    added = suites("add", "mine", file, "--reasoning", "not")
    digest = hashlib.sha256(TEXT.encode()).hexdigest()
    for line in (
        "mine: prompts 3, questions 1, forms json, plain",
        f"from {file}",
        f"SHA-256 {digest}",
        "samples: 100",
        "judge: some-judge",
        "judge prompts: aligned",
        "{reasoning} is 'not'",
        "not used: results_dir",
    ):
        assert line in added
    assert "use it as suite:mine" in added
    shown = suites("show", "suite:mine")
    for cells in (
        r"q/0 +Why not\?",
        r"q/1 +\[red\]How\[/red\]\?",
        r"q_json/0 +json +system +Why\?",
    ):
        assert re.search(cells, shown), shown
    listed = suites("list")
    assert re.search(rf"suite:mine +3  {digest[:12]}", listed)
    assert re.search(r"builtin:general +24  ", listed)


def test_a_copy_that_cannot_be_used_is_listed_as_such(file: Path, tmp_path: Path) -> None:
    suites("add", "mine", file, "--fill", "reasoning=not")
    assert load_prompts("suite:mine")[0].text == "Why not?"
    next((tmp_path / "home" / "suites" / "mine").glob("*.yaml")).write_text("[]")
    listed = " ".join(suites("list").split())
    assert "cannot be used" in listed
    assert "builtin:everyday" in listed


def test_bad_input(file: Path) -> None:
    with pytest.raises(RingfenceError, match=r"nobody fills the placeholder \{reasoning\}"):
        suites("add", "mine", file)
    with pytest.raises(RingfenceError, match="--fill 'reasoning': write NAME=TEXT"):
        suites("add", "mine", file, "--fill", "reasoning")
    assert "Why so?" in suites("show", file, "--reasoning", "so")
    with pytest.raises(RingfenceError, match="no stored suite 'mine'"):
        suites("show", "suite:mine")
