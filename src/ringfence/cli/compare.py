"""``ringfence compare``: the same answers, counted as other papers count. Heavy imports are inside the command."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ringfence.cli.console import console, examples
from ringfence.cli.options import PRESET, AsJson, Name, print_json, require_answers
from ringfence.core.errors import RingfenceError
from ringfence.core.run_folder import EVALUATION_FILE, OWN, RUN_FILE, evaluation_folder

if TYPE_CHECKING:
    from ringfence.report import RunResult


@examples(
    "ringfence compare runs/none runs/canary",
    "ringfence compare runs/canary --preset kaczer --preset betley --json",
)
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Evaluated run folders.")],
    preset: Annotated[list[str] | None, typer.Option(help=f"{PRESET} All, if not given.")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="First move the scores to another judge's scale: a file of `agreement`.")
    ] = None,
    name: Name = OWN,
    as_json: AsJson = False,
) -> None:
    """Print how results move between the protocols of published work, counted anew from the same scores.

    How the answers were drawn cannot be changed afterwards; what differs from a protocol is listed below the table.
    """
    from ringfence.evaluate.calibration import calibrated, load_calibrations
    from ringfence.evaluate.compare import compare_presets, how_made, settings_that_differ, spread
    from ringfence.evaluate.presets import PRESETS, find_preset
    from ringfence.report import load_runs
    from ringfence.report.terminal.verdict_tables import show_comparison, show_settings

    presets = [find_preset(wanted) for wanted in preset or PRESETS]
    found = load_runs(runs, name)
    for one in found:
        require_answers(one)
    maps = load_calibrations(calibration) if calibration else {}
    table = compare_presets({one.name: calibrated(one.responses, maps) for one in found}, presets)
    made = {one.name: how_made(_recipe(one, name), one.responses) for one in found}
    differ = {
        run_name: {one.name: lines for one in presets if (lines := settings_that_differ(how, one))}
        for run_name, how in made.items()
    }
    if as_json:
        about = {one.name: {"source": one.source, "rule": one.said, "notes": one.notes} for one in presets}
        rows, moves = table.to_dict("records"), spread(table).to_dict("records")
        print_json({"presets": about, "rows": rows, "spread": moves, "settings_that_differ": differ})
        return
    rules = {one.name: one.said for one in presets}
    show_comparison(console, table, spread(table), rules)
    show_settings(console, differ)


def _recipe(run: "RunResult", name: str) -> dict[str, Any]:
    """What the evaluation called ``name`` was made by: the run's recipe with the evaluation's own changes."""
    from ringfence.report.reading import read_object

    recipe = dict(run.metadata.get("recipe") or {})
    changes = evaluation_folder(run.folder, name) / EVALUATION_FILE
    if changes.is_file():
        recipe |= read_object(changes, ["recipe"])["recipe"]
    if "no_system" not in recipe or not {"temperature", "max_new_tokens"} <= set(recipe.get("evaluation") or {}):
        raise RingfenceError(f"{run.folder / RUN_FILE}: its recipe does not say how answers were drawn; evaluate again")
    return recipe
