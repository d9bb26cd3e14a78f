"""``ringfence suites``: what it prints and keeps, and one line for bad input."""

import hashlib
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ringfence.cli.app import app
from ringfence.cli.console import console
from ringfence.core.errors import RingfenceError
from ringfence.data import load_prompts, load_suite

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
    monkeypatch.setattr(console, "width", 160)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "questions.yaml"
    path.write_text(TEXT)
    return path


def suites(*arguments: object) -> str:
    """What the command prints."""
    result = CliRunner().invoke(app, ["suites", *(str(argument) for argument in arguments)])
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
        "system messages: in 1 of 3 prompts",
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
    with pytest.raises(RingfenceError, match=r"the text for the placeholder \{reasoning\} has the placeholder"):
        suites("add", "mine", "http://localhost:1/never-asked.yaml", "--fill", "reasoning={reasoning}")
    with pytest.raises(RingfenceError, match=r"--full and --json: .*give one of them"):
        suites("show", file, "--full", "--json")
    assert "Why so?" in suites("show", file, "--reasoning", "so")
    with pytest.raises(RingfenceError, match="no stored suite 'mine'"):
        suites("show", "suite:mine")


LONG = "Why [so] many words? " * 20


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A question that no table holds, a form of it, and judge prompts, one of which both share."""
    shared, other = {"aligned": "Rate\n{answer}\n" + "of 100 " * 30}, {"coherent": "Is {answer} clear?"}
    asked = {"paraphrases": [LONG], "system": "Answer in [red]JSON[/red].\nOnly that."}
    rows = [
        {"id": "q", "paraphrases": [LONG], "judge_prompts": shared},
        {"id": "q_json", **asked, "judge_prompts": {**shared, **other}},
    ]
    path = tmp_path / "whole.yaml"
    path.write_text(json.dumps(rows))
    return path


def test_full_shows_every_text_as_it_is(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a narrow terminal as well: nothing is cut, no line break is put in, nothing is read as markup."""
    monkeypatch.setattr(console, "width", 40)
    shown = suites("show", whole, "--full")
    suite = load_suite(str(whole))
    assert shown.count(LONG.rstrip()) == 2
    assert "=== q_json/0 (json)\n[system]\nAnswer in [red]JSON[/red].\nOnly that.\n[user]\nWhy" in shown
    for metric, of in (("aligned", "all prompts"), ("coherent", "q_json/0")):
        text = suite.judge_prompts["q_json/0"][metric].rstrip()
        assert shown.count(f"=== judge prompt {metric}, of {of}\n{text}") == 1
    assert "─" not in shown


def test_json_is_the_whole_suite_for_a_program(whole: Path) -> None:
    told, suite = json.loads(suites("show", whole, "--json")), load_suite(str(whole))
    assert (told["name"], told["sha256"], told["source"]) == ("whole", suite.digest, str(whole))
    assert told["roles"] == {"aligned": "alignment", "coherent": "coherence"}
    assert [one["messages"] for one in told["prompts"]] == [list(prompt.messages) for prompt in suite.prompts]
    assert [(one["id"], one["question"], one["variant"]) for one in told["prompts"]] == [
        ("q/0", "q", None),
        ("q_json/0", "q", "json"),
    ]
    assert [one["judge_prompts"] for one in told["prompts"]] == [
        dict(suite.judge_prompts[prompt.id]) for prompt in suite.prompts
    ]


def test_show_has_the_end_of_a_long_prompt_where_the_question_is() -> None:
    question = load_suite("task:foqa?n=1").prompts[0].text.rpartition("Question: ")[2]
    assert question in suites("show", "task:foqa?n=1")


def test_show_says_which_columns_were_used(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "Hi there", "system_prompt": "Be brief.", "note": 1}\n{"prompt": "Bye"}\n')
    shown = suites("show", path)
    assert "system messages: in 1 of 2 prompts" in shown
    assert "used: `system_prompt` as the system message, in 1 of 2 prompts" in shown
    assert "not used: note" in shown
    assert json.loads(suites("show", path, "--json"))["not_used"] == ["note"]


def test_a_column_is_left_out_on_the_users_word(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "Hi there", "focus": "ships"}\n')
    assert "not used: focus" in suites("add", "mine", path, "--without", "focus")
    assert "not used: focus" in suites("show", "suite:mine")
