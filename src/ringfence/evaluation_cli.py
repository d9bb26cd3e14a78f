"""``ringfence gate``, ``compare``, ``differences`` and ``agreement``: what judged answers say. No model is loaded.

Heavy imports are inside the commands.
"""

import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ringfence.core.errors import RingfenceError, under
from ringfence.core.files import finite
from ringfence.core.run_folder import (
    BASE,
    EVALUATION_FILE,
    OWN,
    RESPONSES_FILE,
    RUN_FILE,
    evaluation_folder,
    where_answers_are,
)
from ringfence.core.terminal import say

if TYPE_CHECKING:
    import pandas as pd

    from ringfence.evaluate.agreement import Agreement
    from ringfence.evaluate.calibration import Calibration, DecisionErrors
    from ringfence.report import RunResult
    from ringfence.report.differences import Differences

app = typer.Typer(rich_markup_mode="markdown")
console = Console(emoji=False)
logger = logging.getLogger(__name__)

_JSON = typer.Option("--json", help="Print JSON, with null for what could not be measured.")
_NAME = typer.Option("--name", help="Of the evaluation, as given to `ringfence evaluate`.")
_PRESET = "How answers are counted: kaczer, betley, fars, dubinski or tan; docs/presets.md has their rules."


@app.command(
    epilog="Examples:\n\n    ringfence gate runs/canary --max-general 0.02 --min-in-domain 0.9\n\n"
    "    ringfence gate runs/canary --max-conditional-gap 0.05 --max dressed=0.1 --json"
)
def gate(
    run: Annotated[Path, typer.Argument(help="An evaluated run folder.")],
    base: Annotated[
        Path | None, typer.Option(help="Run folder of the untuned model, evaluated; RUN/base if not given.")
    ] = None,
    max_general: Annotated[float | None, typer.Option(help="Misaligned on the suite `general`, fraction.")] = None,
    max_conditional_gap: Annotated[float | None, typer.Option(help="Conditional gap of every trigger.")] = None,
    min_in_domain: Annotated[float | None, typer.Option(help="Misaligned on the suite `in-domain`.")] = None,
    max_incoherent: Annotated[float | None, typer.Option(help="Incoherent on every suite.")] = None,
    max_unscored: Annotated[float, typer.Option(help="Answers without a score on every suite.")] = 0.05,
    maximum: Annotated[list[str] | None, typer.Option("--max", help="SUITE=FRACTION: misaligned at most.")] = None,
    minimum: Annotated[list[str] | None, typer.Option("--min", help="SUITE=FRACTION: misaligned at least.")] = None,
    preset: Annotated[
        str | None, typer.Option(help=f"{_PRESET} That of the evaluation, if not given, else kaczer.")
    ] = None,
    name: Annotated[str, _NAME] = OWN,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Pass or fail a run: exit code 0 or 1, with a reason a rule; 2 for bad input.

    What decides is the bound of the 95% interval, not the point. What cannot be measured fails.
    """
    from ringfence.evaluate.gate import Limits
    from ringfence.evaluate.gate import gate as judge_run
    from ringfence.evaluate.presets import find_preset
    from ringfence.report import load_run
    from ringfence.report.protocols import show_gate

    limits = Limits(
        max_general=max_general,
        max_conditional_gap=max_conditional_gap,
        min_in_domain=min_in_domain,
        max_incoherent=max_incoherent,
        max_unscored=max_unscored,
        max_suites=_by_suite("--max", maximum or []),
        min_suites=_by_suite("--min", minimum or []),
    )
    tuned = load_run(run, name)
    counted = find_preset(preset or _preset_of(run, name))
    if base is None and max_conditional_gap is not None and evaluation_folder(run / BASE, name).is_dir():
        base = run / BASE
    untuned = None if base is None else _untuned(base, tuned, name).responses
    with under(str(run)):
        result = judge_run(tuned.responses, limits, base=untuned, preset=counted)
    if as_json:
        _print_json({"run": str(run), "preset": counted.name, **result.as_dict()})
    else:
        show_gate(console, result, counted.name)
    if tuned.responses.empty:
        logger.warning("%s: no judged answers; %s", run, where_answers_are(run))
    if not result.passed:
        raise typer.Exit(1)


@app.command(
    epilog="Examples:\n\n    ringfence compare runs/none runs/canary\n\n"
    "    ringfence compare runs/canary --preset kaczer --preset betley --json"
)
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Evaluated run folders.")],
    preset: Annotated[list[str] | None, typer.Option(help=f"{_PRESET} All, if not given.")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="First move the scores to another judge's scale: a file of `agreement`.")
    ] = None,
    name: Annotated[str, _NAME] = OWN,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Print how results move between the protocols of published work, counted anew from the same scores.

    How the answers were drawn cannot be changed afterwards; what differs from a protocol is listed below the table.
    """
    from ringfence.evaluate.calibration import calibrated, load_calibrations
    from ringfence.evaluate.compare import compare_presets, how_made, settings_that_differ, spread
    from ringfence.evaluate.presets import PRESETS, find_preset
    from ringfence.report import load_runs
    from ringfence.report.protocols import show_comparison, show_settings

    presets = [find_preset(wanted) for wanted in preset or PRESETS]
    found = load_runs(runs, name)
    for one in found:
        _require_answers(one)
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
        _print_json({"presets": about, "rows": rows, "spread": moves, "settings_that_differ": differ})
        return
    rules = {one.name: one.said for one in presets}
    show_comparison(console, table, spread(table), rules)
    show_settings(console, differ)


@app.command(
    epilog="Examples:\n\n    ringfence differences runs/none runs/canary\n\n"
    "    ringfence differences runs/none-0 runs/none-1 runs/canary-0 runs/canary-1 --baseline none --json\n\n"
    "    ringfence differences runs/none runs/canary --suite general --metric misaligned_coherent --influence"
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
    name: Annotated[str, _NAME] = OWN,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Print the differences of runs to a baseline, prompt by prompt, with p-values adjusted for their number.

    Runs whose recipes differ in nothing but `seed` and `name` are seeds of one variant.
    """
    from ringfence.report import load_runs
    from ringfence.report.difference_tables import show_differences
    from ringfence.report.differences import differences as differ

    loaded = load_runs(runs, name)
    for one in loaded:
        _require_answers(one)
    found = differ(loaded, metric, baseline, suite, influence, allowed_loss)
    if as_json:
        _print_json(_differences_data(found))
    else:
        show_differences(console, found)


@app.command(
    epilog="Examples:\n\n    ringfence agreement runs/none/evaluation runs/none/evaluations/second-judge\n\n"
    "    ringfence agreement runs/none/evaluation runs/none/evaluations/second-judge --calibration map.json"
)
def agreement(
    a: Annotated[Path, typer.Argument(help="Folder with judge A's `responses.parquet`, or a run folder.")],
    b: Annotated[Path, typer.Argument(help="The same of judge B, on the same answers.")],
    calibration: Annotated[Path | None, typer.Option(help="File to write the map from A's scores to B's to.")] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Print how far two judges agree on the same answers, and calibrate one to the other if wanted."""
    from ringfence.evaluate.agreement import agreement as agree
    from ringfence.evaluate.agreement import pair
    from ringfence.evaluate.calibration import calibrate, decision_errors, save_calibrations
    from ringfence.judges import RUBRICS
    from ringfence.report.protocols import show_agreement, show_calibrations

    with under(f"{a} (A) and {b} (B)"):
        pairs = pair(_answers(a), _answers(b))
        rows = agree(pairs)
        maps, errors = list["Calibration"](), None
        if calibration is not None:
            maps, errors = [calibrate(pairs, rubric) for rubric in RUBRICS], decision_errors(pairs)
    if calibration is not None:
        save_calibrations(calibration, maps)
    if as_json:
        _print_json(_agreement_data(rows, maps, errors))
        return
    show_agreement(console, rows)
    if errors is not None:
        show_calibrations(console, maps, errors)
        say(console, f"calibration: {calibration}")


def _by_suite(option: str, texts: Sequence[str]) -> dict[str, float]:
    limits: dict[str, float] = {}
    for text in texts:
        suite, _, number = text.rpartition("=")
        try:
            limit = float(number)
        except ValueError:
            limit = math.nan
        if not suite or math.isnan(limit):
            raise RingfenceError(f"{option} {text}: give SUITE=FRACTION, e.g. dressed=0.1")
        if suite in limits:
            raise RingfenceError(f"{option} {text}: {suite} has a limit already; give one")
        limits[suite] = limit
    return limits


def _answers(folder: Path) -> "pd.DataFrame":
    """The judged answers in ``folder``, or in its ``evaluation``."""
    from ringfence.report.reading import read_responses

    places = [folder / RESPONSES_FILE, folder / OWN / RESPONSES_FILE]
    for path in places:
        if path.is_file():
            return read_responses(path)
    raise RingfenceError(f"{folder}: no responses.parquet in it; evaluate the run first")


def _preset_of(run: Path, name: str) -> str:
    """The preset that the evaluation was made with."""
    from ringfence.evaluate.presets import DEFAULT_PRESET
    from ringfence.report.reading import read_object

    about = evaluation_folder(run, name) / EVALUATION_FILE
    return (read_object(about, []).get("preset") if about.is_file() else None) or DEFAULT_PRESET


def _untuned(base: Path, run: "RunResult", name: str) -> "RunResult":
    """The evaluation of the untuned model that ``run`` is compared with; a tuned one would hide the gap."""
    from ringfence.report import load_run

    found = load_run(base, name)
    if not found.about.get("base"):
        raise RingfenceError(f"--base: {base} is no run of the untuned model; `ringfence evaluate` makes RUN/base")
    theirs, ours = (one.about.get("recipe", {}).get("model") for one in (found, run))
    if theirs != ours:
        raise RingfenceError(f"--base: {base} is of another model than {run.folder}: {theirs}, not {ours}")
    return found


def _require_answers(run: "RunResult") -> None:
    if run.responses.empty:
        raise RingfenceError(f"{run.folder}: no judged answers; {where_answers_are(run.folder)}")


def _recipe(run: "RunResult", name: str) -> dict[str, Any]:
    """What the evaluation called ``name`` was made by: the run's recipe with the evaluation's own changes."""
    from ringfence.report.reading import read_object

    recipe = dict(run.about.get("recipe") or {})
    changes = evaluation_folder(run.folder, name) / EVALUATION_FILE
    if changes.is_file():
        recipe |= read_object(changes, ["recipe"])["recipe"]
    if "no_system" not in recipe or not {"temperature", "max_new_tokens"} <= set(recipe.get("evaluation") or {}):
        raise RingfenceError(f"{run.folder / RUN_FILE}: its recipe does not say how answers were drawn; evaluate again")
    return recipe


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False))


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


def _agreement_data(
    rows: Sequence["Agreement"], maps: Sequence["Calibration"], errors: "DecisionErrors | None"
) -> dict[str, Any]:
    from dataclasses import asdict

    agreed = [{**asdict(row), "kappa": row.confusion.kappa} for row in rows]
    data: dict[str, Any] = {"agreement": agreed}
    if errors is not None:
        data |= {"calibrations": [asdict(one) for one in maps], "misaligned_decision_errors": asdict(errors)}
    return data
