"""What the commands that read judged answers have in common."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ringfence.core.errors import RingfenceError
from ringfence.core.files import jsonable
from ringfence.core.run_folder import where_answers_are

if TYPE_CHECKING:
    from ringfence.judges import JudgeSettings
    from ringfence.report import RunResult

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, with null for what could not be measured.")]
Name = Annotated[str, typer.Option("--name", help="Of the evaluation, as given to `ringfence evaluate`.")]
PRESET = "How answers are counted: kaczer, betley, fars, dubinski or tan; docs/presets.md has their rules."


def print_json(value: Any) -> None:
    """To stdout, and nothing else beside it."""
    typer.echo(json.dumps(jsonable(value), indent=2, ensure_ascii=False, allow_nan=False))


@contextmanager
def judge_file(path: Path) -> Iterator[tuple[dict[str, Any], "JudgeSettings"]]:
    """The settings in ``path`` and the judge that they make; what is wrong with it inside is said of that file."""
    from ringfence.core.settings import read_plain
    from ringfence.judges import JUDGES

    settings = read_plain(path)
    try:
        yield settings, JUDGES.parse(settings)
    except RingfenceError as error:
        raise RingfenceError(f"{path}: {str(error).lstrip('.: ')}") from None


def require_answers(run: "RunResult") -> None:
    """Raise :class:`RingfenceError` if nothing of ``run`` is judged."""
    if run.responses.empty:
        raise RingfenceError(f"{run.folder}: no judged answers; {where_answers_are(run.folder)}")
