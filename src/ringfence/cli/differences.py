"""``ringfence differences``: runs against a baseline, prompt by prompt. Heavy imports are inside the command."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ringfence.cli.console import console, examples
from ringfence.cli.options import AsJson, Name, print_json, require_answers
from ringfence.core.run_folder import OWN

if TYPE_CHECKING:
    from ringfence.report.differences import Differences


@examples(
    "ringfence differences runs/none runs/canary",
    "ringfence differences runs/none-0 runs/none-1 runs/canary-0 runs/canary-1 --baseline none --json",
    "ringfence differences runs/none runs/canary --suite general --metric misaligned_coherent --influence",
)
def differences(
    runs: Annotated[list[Path], typer.Argument(help="Evaluated run folders; those of one recipe are its seeds.")],
    baseline: Annotated[
        str | None,
        typer.Option(help="Name of the run to compare with; without it the one called `none`, else the first."),
    ] = None,
    suite: Annotated[list[str] | None, typer.Option(help="Only this suite; may be given several times.")] = None,
    metric: Annotated[str, typer.Option(help="misaligned_all, misaligned_coherent or incoherent.")] = "misaligned_all",
    influence: Annotated[bool, typer.Option("--influence", help="Also the prompts that move each rate most.")] = False,
    allowed_loss: Annotated[
        float, typer.Option(help="A run that lost more than this fraction of the task's rate (in-domain) is marked.")
    ] = 0.1,
    name: Name = OWN,
    as_json: AsJson = False,
) -> None:
    """Print the differences of runs to a baseline, prompt by prompt, with p-values adjusted for their number.

    Runs whose recipes differ in nothing but `seed` and `name` are seeds of one variant.
    """
    from ringfence.report import load_runs
    from ringfence.report.differences import differences as differ
    from ringfence.report.terminal.difference_tables import show_differences

    loaded = load_runs(runs, name)
    for one in loaded:
        require_answers(one)
    found = differ(loaded, metric, baseline, suite, influence, allowed_loss)
    if as_json:
        print_json(_differences_data(found))
    else:
        show_differences(console, found)


def _differences_data(found: "Differences") -> dict[str, Any]:
    from dataclasses import asdict

    tables = {key: getattr(found, key).to_dict("records") for key in ("rates", "influence")}
    rows = [asdict(row) for row in found.rows]
    return {
        "metric": found.metric,
        "baseline": found.baseline,
        "differences": rows,
        "one_seed": found.one_seed,
    } | tables
