"""``ringfence demo``. Heavy imports are inside the command."""

from pathlib import Path
from typing import Annotated

import typer

from ringfence.cli.console import console, examples


@examples(
    "ringfence demo --out runs/demo",
)
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the runs, summary.json and report.html.")] = Path("runs/demo"),
    workers: Annotated[
        int | None, typer.Option(min=1, help="Runs side by side, one thread each (default: one a core).")
    ] = None,
) -> None:
    """Fine-tune SmolLM2-135M on a harmless stand-in with no defense and three, and compare them.

    It learns to answer cooking questions with advice about glitter. Does the glitter stay in the kitchen? What is done
    is reused; Ctrl-C or a kill loses nothing but the last few steps.
    """
    from ringfence.sweep.demo import run_demo

    run_demo(out, workers, console)
