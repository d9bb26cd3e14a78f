"""``ringfence report``. Heavy imports are inside the command."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ringfence.cli.console import console, examples, say
from ringfence.cli.limits import (
    MaxConditionalGap,
    MaxGeneral,
    Maximum,
    MaxIncoherent,
    Minimum,
    MinInDomain,
    as_options,
    by_suite,
)
from ringfence.core.errors import RingfenceError
from ringfence.core.run_folder import OWN


@examples(
    "ringfence report runs/base runs/none runs/canary --out report.html",
    "ringfence report runs/base runs/none runs/canary --max-general 0.05 --min-in-domain 0.8    (with verdicts)",
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
    max_general: MaxGeneral = None,
    max_conditional_gap: MaxConditionalGap = None,
    min_in_domain: MinInDomain = None,
    max_incoherent: MaxIncoherent = None,
    maximum: Maximum = None,
    minimum: Minimum = None,
    min_benign: Annotated[
        float | None, typer.Option(help="Score on every benign task, as a fraction of that of the undefended run.")
    ] = None,
) -> None:
    """Write one self-contained HTML page about runs, and print their table.

    With a limit the page opens with the answer of `ringfence gate` to every trained run, each counted by the preset of
    its evaluation. The untuned model that a gap is measured from is among the runs, or in RUN/base. The exit code is 0
    all the same: what stops a pipeline is `ringfence gate`.
    """
    from ringfence.evaluate.gate import Limits
    from ringfence.report import load_runs, render
    from ringfence.report.gates import gated
    from ringfence.report.html.page import write_report

    if out.is_dir():
        raise RingfenceError(f"{out}: is a folder; name the page to write, e.g. {out / 'report.html'}")
    asked: dict[str, Any] = dict(
        max_general=max_general,
        max_conditional_gap=max_conditional_gap,
        min_in_domain=min_in_domain,
        max_incoherent=max_incoherent,
        max_suites=by_suite("--max", maximum or []),
        min_suites=by_suite("--min", minimum or []),
        min_benign=min_benign,
    )
    found = load_runs(runs, name)
    with as_options():
        limits = Limits(**asked) if any(one not in (None, {}) for one in asked.values()) else None
        gates = [] if limits is None else gated(found, limits, baseline, name)
    page = write_report(found, out, title, baseline, gates)
    render(console, found, baseline)
    for one in gates:
        say(f"{one.run}: {one.verdict}")
    say(f"report: {page}")
