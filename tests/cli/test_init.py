"""``ringfence init``: by options, by questions, and where nobody answers."""

from pathlib import Path

import pytest

import project
from ringfence.recipe.run import load_recipe


def test_options_and_defaults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is not said has a default; what has none is an error without a terminal."""
    out = tmp_path / "recipe.yaml"
    arguments = ["--data", "builtin:glitter/target", "--judge", "builtin:glitter", "--out", out]
    code, said, err = project.in_process(capsys, "init", *arguments)
    assert code == 0, err
    assert "ringfence train" in said
    assert load_recipe(out).name == "guarded"
    code, _, err = project.in_process(capsys, "init", *arguments)
    assert (code, "is there already" in err) == (2, True)
    code, _, err = project.in_process(capsys, "init", "--data", "x.jsonl", "--out", tmp_path / "other.yaml")
    assert (code, "--judge: is missing" in err) == (2, True)


def test_it_asks_on_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five questions; an empty answer takes the default."""
    answers = {"What to train on": "builtin:glitter/target", "Who finds": "builtin:glitter"}
    asked: list[str] = []

    def prompt(question: str, default: str | None = None) -> str | None:
        asked.append(question)
        return next((answer for start, answer in answers.items() if question.startswith(start)), default)

    monkeypatch.setattr("ringfence.cli.init.sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("ringfence.cli.init.typer.prompt", prompt)
    code, _, err = project.in_process(capsys, "init", "--out", tmp_path / "recipe.yaml")
    assert (code, len(asked)) == (0, 5), err
    assert load_recipe(tmp_path / "recipe.yaml").model.name == "smollm2-135m"
