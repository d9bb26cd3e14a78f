"""``ringfence card``: the model card of an evaluated run. No model is loaded; heavy imports are inside the command."""

from pathlib import Path
from typing import Annotated

import typer

from ringfence.cli.console import examples, say
from ringfence.cli.options import Name
from ringfence.core.errors import RingfenceError
from ringfence.core.run_folder import OWN, untuned_beside


@examples(
    "ringfence card runs/canary --undefended runs/none",
    "ringfence card runs/canary --undefended runs/none --out card.md",
)
def card(
    run: Annotated[Path, typer.Argument(help="An evaluated run folder.")],
    base: Annotated[
        Path | None, typer.Option(help="Run folder of the untuned model, evaluated; RUN/base if not given.")
    ] = None,
    undefended: Annotated[
        Path | None, typer.Option(help="Run folder trained without a defense, evaluated: the fair comparison.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write, e.g. the adapter's README.md.")] = None,
    name: Name = OWN,
) -> None:
    """Write the card of a model for the hub: data, defenses, rates with intervals, gaps, benign tasks, and limits.

    What was not measured is said under "Limits". The front matter has the rates in the hub's form (`model-index`).
    """
    from ringfence.core.files import write_text
    from ringfence.report import load_run
    from ringfence.report.card import card as written

    beside = {"--base": base or untuned_beside(run, name), "--undefended": undefended}
    found = {option: load_run(one, name) for option, one in beside.items() if one is not None}
    for option, one in found.items():
        if not one.rates and not one.benign:
            raise RingfenceError(f"{option} {one.folder}: has no evaluation; run `ringfence evaluate` on it first")
    text = written(load_run(run, name), found.get("--base"), found.get("--undefended"))
    if out is None:
        typer.echo(text, nl=False)
        return
    write_text(out, text)
    say(f"card: {out}")
