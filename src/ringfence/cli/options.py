"""What the commands that read judged answers have in common."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ringfence.core.errors import RingfenceError
from ringfence.core.files import jsonable
from ringfence.core.run_folder import where_answers_are

if TYPE_CHECKING:
    from ringfence.report import RunResult

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, with null for what could not be measured.")]
Name = Annotated[str, typer.Option("--name", help="Of the evaluation, as given to `ringfence evaluate`.")]
PRESET = "How answers are counted: kaczer, betley, fars, dubinski or tan; docs/presets.md has their rules."


def print_json(value: Any) -> None:
    typer.echo(json.dumps(jsonable(value), indent=2, ensure_ascii=False, allow_nan=False))


def require_answers(run: "RunResult") -> None:
    if run.responses.empty:
        raise RingfenceError(f"{run.folder}: no judged answers; {where_answers_are(run.folder)}")
