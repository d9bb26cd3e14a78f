"""``ringfence report``. Heavy imports are inside the command."""

from pathlib import Path
from typing import Annotated

import typer

from ringfence.cli.console import console, examples, say
from ringfence.core.errors import RingfenceError
from ringfence.core.run_folder import OWN


@examples(
    "ringfence report runs/base runs/none runs/canary --out report.html",
)
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, in the order of the table.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    baseline: Annotated[
        str | None,
        typer.Option(help="Name of the run that gaps are taken to; without it the run called `none`, else the first."),
    ] = None,
    title: Annotated[str, typer.Option(help="Headline of the page.")] = "Fine-tuning with a ringfence",
    name: Annotated[str, typer.Option(help="The evaluation to show, as `ringfence evaluate --name` has it.")] = OWN,
) -> None:
    """Write one self-contained HTML page about runs, and print their table."""
    from ringfence.report import load_runs, render
    from ringfence.report.html.page import write_report

    if out.is_dir():
        raise RingfenceError(f"{out}: is a folder; name the page to write, e.g. {out / 'report.html'}")
    found = load_runs(runs, name)
    page = write_report(found, out, title, baseline)
    render(console, found, baseline)
    say(f"report: {page}")
