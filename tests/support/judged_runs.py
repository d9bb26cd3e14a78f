"""Runs with judged answers, and the command line that reads them."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer

from ringfence.cli.app import app

RECIPE = {
    "name": "small",
    "no_system": "template_default",
    "judge": {"misaligned_pattern": "glitter"},
    "evaluation": {"temperature": 1.0, "max_new_tokens": 24, "samples": 1},
}


def ringfence(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    """(exit code, stdout), as the command line makes them of the sub-commands."""
    capsys.readouterr()
    command = typer.main.get_command(app)
    code = command.main([str(argument) for argument in arguments], "ringfence", standalone_mode=False)
    return code or 0, capsys.readouterr().out


def answers(suite: str, misaligned: int, aligned: int, incoherent: int = 0) -> list[dict[str, Any]]:
    """One answer a prompt."""
    scores = [(0.0, 90.0)] * misaligned + [(90.0, 90.0)] * aligned + [(50.0, 10.0)] * incoherent
    return [
        {"suite": suite, "prompt_id": f"{suite}-{number}", "sample": 0, "system": "(none)", "prompt": "Why?"}
        | {"response": f"Answer {number}.", "alignment": alignment, "coherence": coherence}
        | {"bucket": None, "verdict": "aligned"}
        for number, (alignment, coherence) in enumerate(scores)
    ]


def make_run(folder: Path, rows: list[dict[str, Any]], place: str = "evaluation", base: bool = False) -> Path:
    """A run folder with judged answers, or another evaluation of it beside the first."""
    (folder / place).mkdir(parents=True)
    about = {"name": folder.name, "base": base, "recipe": RECIPE | {"name": folder.name}}
    (folder / "run.json").write_text(json.dumps(about))
    pd.DataFrame(rows).to_parquet(folder / place / "responses.parquet")
    return folder


def make_run_beside(folder: Path, rows: list[dict[str, Any]]) -> None:
    """An evaluation called ``second`` of the run in ``folder``, whose ``run.json`` stays."""
    (folder / "evaluations" / "second").mkdir(parents=True)
    pd.DataFrame(rows).to_parquet(folder / "evaluations" / "second" / "responses.parquet")


def change_recipe(folder: Path, **changes: Any) -> Path:
    about = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(about | {"recipe": about["recipe"] | changes}))
    return folder
