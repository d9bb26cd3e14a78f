"""``ringfence figure``. Heavy imports are inside the command."""

from pathlib import Path
from typing import Annotated

import typer

from ringfence.cli.console import examples, say
from ringfence.core.errors import RingfenceError
from ringfence.core.run_folder import OWN


@examples(
    "ringfence figure --list",
    "ringfence figure tradeoff runs/none runs/kl-0.1 runs/kl-1 --out tradeoff.pdf",
    "ringfence figure suites runs/none runs/kl --suite general --suite long --out lengths.svg",
    "ringfence figure properties properties.json --out properties.pdf",
    "ringfence figure control runs/canary-42 runs/canary-123 runs/canary-456 --out control.png --width 6.9",
)
def figure(
    what: Annotated[str | None, typer.Argument(metavar="NAME", help="Which figure; --list has them.")] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Argument(help="Run folders, in the order of the legend; files of numbers, where --list says so."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file: .pdf, .svg or .png (default: NAME.pdf).")] = None,
    suite: Annotated[
        list[str] | None, typer.Option(help="The suite that is shown; `suites` takes several, in this order.")
    ] = None,
    metric: Annotated[str, typer.Option(help="misaligned_all, misaligned_coherent or incoherent.")] = "misaligned_all",
    width: Annotated[
        float | None, typer.Option(min=1.0, max=20.0, help="Inches (default: a column is 3.35, a page 6.9).")
    ] = None,
    name: Annotated[str, typer.Option(help="The evaluation to show, as `ringfence evaluate --name` has it.")] = OWN,
    list_: Annotated[bool, typer.Option("--list", help="Say which figures there are, and stop.")] = False,
) -> None:
    """Draw one figure for a paper, in a style that is readable in grey and to the colour-blind.

    Runs whose recipes differ in nothing but `seed` and `name` are one point with an interval over seeds. A run has its
    colour by its name, in whatever order runs are given. Needs matplotlib, the extra `figures` (docs/install.md).
    """
    from ringfence.report.figures import FIGURES, Asked, draw, read

    if list_:
        for key, one in FIGURES.items():
            say(f"{key:12} {one.shows}; of {one.of}")
        return
    if what is None or not runs:
        raise RingfenceError("name a figure and at least one run folder, e.g. `ringfence figure leak runs/none`")
    written = draw(what, read(what, runs, name), out or Path(f"{what}.pdf"), Asked(tuple(suite or ()), metric, width))
    say(f"figure: {written}")
