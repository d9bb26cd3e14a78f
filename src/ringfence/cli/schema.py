"""``ringfence schema``. Heavy imports are inside the command."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ringfence.cli.console import examples, say
from ringfence.cli.options import print_json
from ringfence.core.errors import RingfenceError, did_you_mean

if TYPE_CHECKING:
    from pydantic import BaseModel


@examples(
    "ringfence schema --out recipe.schema.json",
    "ringfence schema select",
)
def schema(
    kind: Annotated[str, typer.Argument(help="Of what: run (a recipe to train by), select, persona or sweep.")] = "run",
    out: Annotated[Path | None, typer.Option(help="File to write; without it the schema is printed.")] = None,
) -> None:
    """Print the JSON Schema of recipes, by which an editor completes and explains keys and marks wrong ones.

    With the YAML language server (VS Code, Neovim, ...) the first line of a recipe names it:
    `# yaml-language-server: $schema=recipe.schema.json`
    """
    from ringfence.core.files import write_json
    from ringfence.recipe.schema import RECIPES, schema_of
    from ringfence.sweep.config import SweepConfig

    known: dict[str, type[BaseModel]] = {**RECIPES, "sweep": SweepConfig}
    if kind not in known:
        raise RingfenceError(f"no schema of {kind!r}; there are {', '.join(known)}.{did_you_mean(kind, known)}")
    found = schema_of(known[kind])
    if out is None:
        print_json(found)
        return
    write_json(out, found)
    say(f"written: {out}; begin a recipe with `# yaml-language-server: $schema={out.name}`")
