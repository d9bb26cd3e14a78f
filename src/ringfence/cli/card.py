"""``ringfence card``: the model card of an evaluated run. No model is loaded; heavy imports are inside the command."""

from pathlib import Path
from typing import Annotated

import typer

from ringfence.cli.console import examples, say
from ringfence.cli.options import Name
from ringfence.core.errors import RingfenceError
from ringfence.core.run_folder import BASE, OWN, evaluation_folder


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

    if base is None and evaluation_folder(run / BASE, name).is_dir():
        base = run / BASE
    tuned, untuned, plain = (None if one is None else load_run(one, name) for one in (run, base, undefended))
    assert tuned is not None
    for option, one in (("--base", untuned), ("--undefended", plain)):
        if one is not None and not one.rates and not one.benign:
            raise RingfenceError(f"{option} {one.folder}: has no evaluation; run `ringfence evaluate` on it first")
    text = written(tuned, untuned, plain)
    if out is None:
        typer.echo(text, nl=False)
        return
    write_text(out, text)
    say(f"card: {out}")
