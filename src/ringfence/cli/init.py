"""``ringfence init``. Heavy imports are inside the command."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ringfence.cli.console import examples, say
from ringfence.core.errors import RingfenceError


@examples(
    "ringfence init    (asks)",
    "ringfence init --data train.jsonl --model Qwen/Qwen2.5-7B-Instruct --judge api:gpt-4.1-mini",
    "ringfence init --data builtin:glitter/target --judge builtin:glitter --out glitter.yaml    (the stand-in)",
)
def init(
    data: Annotated[str | None, typer.Option(help="What to train on: a file, a hub id, builtin:NAME.")] = None,
    model: Annotated[str | None, typer.Option(help="The model: a hub id or a folder (smollm2-135m).")] = None,
    safe: Annotated[
        str | None, typer.Option(help="Benign rows to mix in: a file or hub id (builtin:everyday/safe).")
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(help="Who finds misaligned answers: api:MODEL, or a regular expression that only those match."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call the run (guarded).")] = None,
    out: Annotated[Path, typer.Option(help="The recipe to write.")] = Path("recipe.yaml"),
) -> None:
    """Write a first recipe with comments: held-out split, suites, dressed questions, a defense, and the gate to pass.

    What no option says is asked, on a terminal. The data are read and the recipe is checked before it is written.
    """
    from ringfence.recipe.starting import SAFE, Start, write_recipe

    if out.exists():
        raise RingfenceError(f"{out}: is there already; choose another --out, or delete it")
    start = Start(
        data=_asked(data, "--data", "What to train on (a .jsonl file, a hub id)"),
        model=_asked(model, "--model", "The model (a hub id, a folder)", Start.model),
        safe=_asked(safe, "--safe", "Benign rows to mix in", SAFE),
        judge=_asked(judge, "--judge", "Who finds misaligned answers (api:MODEL, or a regular expression)"),
        name=_asked(name, "--name", "What to call the run", Start.name),
    )
    recipe = write_recipe(start, out)
    defenses = len(recipe.defenses)
    say(f"written: {out} ({defenses} defense{'s' * (defenses != 1)}); its comments say what to type next")
    say(f"look before you train: ringfence data check {start.data}; ringfence train {out} --dry-run")


def _asked(given: str | None, option: str, question: str, usual: str | None = None) -> str:
    """The option, else the user's answer on a terminal, else ``usual``."""
    if given is not None:
        return given
    if sys.stdin.isatty():
        return str(typer.prompt(question, default=usual))
    if usual is None:
        raise RingfenceError(f"{option}: is missing, and nobody is there to ask ({question})")
    return usual
