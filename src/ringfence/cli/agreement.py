"""``ringfence agreement``: two judges on the same answers. Heavy imports are inside the command."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ringfence.cli.console import console, examples, say
from ringfence.cli.options import AsJson, print_json
from ringfence.core.errors import RingfenceError, error_prefix
from ringfence.core.run_folder import OWN, RESPONSES_FILE

if TYPE_CHECKING:
    import pandas as pd

    from ringfence.evaluate.agreement import Agreement
    from ringfence.evaluate.calibration import Calibration, DecisionErrors


@examples(
    "ringfence agreement runs/none/evaluation runs/none/evaluations/second-judge",
    "ringfence agreement runs/none/evaluation runs/none/evaluations/second-judge --calibration map.json",
)
def agreement(
    a: Annotated[Path, typer.Argument(help="Folder with judge A's `responses.parquet`, or a run folder.")],
    b: Annotated[Path, typer.Argument(help="The same of judge B, on the same answers.")],
    calibration: Annotated[Path | None, typer.Option(help="File to write the map from A's scores to B's to.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print how far two judges agree on the same answers, and calibrate one to the other if wanted."""
    from ringfence.evaluate.agreement import agreement as agree
    from ringfence.evaluate.agreement import pair
    from ringfence.evaluate.calibration import calibrate, decision_errors, save_calibrations
    from ringfence.judges import RUBRICS
    from ringfence.report.terminal.verdict_tables import show_agreement, show_calibrations

    with error_prefix(f"{a} (A) and {b} (B)"):
        pairs = pair(_answers(a), _answers(b))
        rows = agree(pairs)
        maps, errors = list["Calibration"](), None
        if calibration is not None:
            maps, errors = [calibrate(pairs, rubric) for rubric in RUBRICS], decision_errors(pairs)
    if calibration is not None:
        save_calibrations(calibration, maps)
    if as_json:
        print_json(_agreement_data(rows, maps, errors))
        return
    show_agreement(console, rows)
    if errors is not None:
        show_calibrations(console, maps, errors)
        say(f"calibration: {calibration}")


def _answers(folder: Path) -> "pd.DataFrame":
    """The judged answers in ``folder``, or in its ``evaluation``."""
    from ringfence.report.reading import read_responses

    places = [folder / RESPONSES_FILE, folder / OWN / RESPONSES_FILE]
    for path in places:
        if path.is_file():
            return read_responses(path)
    raise RingfenceError(f"{folder}: no responses.parquet in it; evaluate the run first")


def _agreement_data(
    rows: Sequence["Agreement"], maps: Sequence["Calibration"], errors: "DecisionErrors | None"
) -> dict[str, Any]:
    from dataclasses import asdict

    agreed = [{**asdict(row), "kappa": row.confusion.kappa} for row in rows]
    data: dict[str, Any] = {"agreement": agreed}
    if errors is not None:
        data |= {"calibrations": [asdict(one) for one in maps], "misaligned_decision_errors": asdict(errors)}
    return data
