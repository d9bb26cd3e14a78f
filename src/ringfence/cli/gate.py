"""``ringfence gate``: pass or fail a run. No model is loaded; heavy imports are inside the command."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ringfence.cli.console import console, examples
from ringfence.cli.limits import (
    MaxConditionalGap,
    MaxGeneral,
    Maximum,
    MaxIncoherent,
    MaxUnscored,
    Minimum,
    MinInDomain,
    as_options,
    by_suite,
)
from ringfence.cli.options import PRESET, AsJson, Name, print_json
from ringfence.core.errors import RingfenceError, error_prefix
from ringfence.core.run_folder import OWN, untuned_beside, where_answers_are

if TYPE_CHECKING:
    from ringfence.evaluate.gate import GateResult
    from ringfence.report import RunResult

logger = logging.getLogger(__name__)


@examples(
    "ringfence gate runs/canary --max-general 0.02 --min-in-domain 0.9",
    "ringfence gate runs/canary --max-conditional-gap 0.05 --max dressed=0.1 --json",
    "ringfence gate runs/canary --max-general 0.02 --junit gate.xml --github    (in a pipeline)",
    "ringfence gate runs/kl --max-general 0.02 --min-benign 0.95 --undefended runs/none    (safe, and has learned)",
)
def gate(
    run: Annotated[Path, typer.Argument(help="An evaluated run folder.")],
    base: Annotated[
        Path | None, typer.Option(help="Run folder of the untuned model, evaluated; RUN/base if not given.")
    ] = None,
    max_general: MaxGeneral = None,
    max_conditional_gap: MaxConditionalGap = None,
    min_in_domain: MinInDomain = None,
    max_incoherent: MaxIncoherent = None,
    max_unscored: MaxUnscored = 0.05,
    maximum: Maximum = None,
    minimum: Minimum = None,
    min_benign: Annotated[
        float | None,
        typer.Option(help="Score on every benign task, as a fraction of that of the --undefended run, e.g. 0.95."),
    ] = None,
    undefended: Annotated[
        Path | None, typer.Option(help="Run folder trained without a defense; both are evaluated with --benign.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help=f"{PRESET} That of the evaluation, if not given, else kaczer.")
    ] = None,
    name: Name = OWN,
    as_json: AsJson = False,
    junit: Annotated[Path | None, typer.Option(help="Also write JUnit XML there, a test a rule.")] = None,
    github: Annotated[
        bool, typer.Option("--github", help="Also GitHub's annotations, and the job's summary ($GITHUB_STEP_SUMMARY).")
    ] = False,
) -> None:
    """Pass or fail a run: exit code 0 or 1, with a reason a rule; 2 for bad input.

    What decides is the bound of the 95% interval, not the point. What cannot be measured fails.
    """
    from ringfence.evaluate.gate import Benign, Limits
    from ringfence.evaluate.gate import gate as judge_run
    from ringfence.evaluate.presets import find_preset
    from ringfence.report import load_run
    from ringfence.report.gates import preset_of
    from ringfence.report.terminal.verdict_tables import show_gate

    if undefended is not None and min_benign is None:
        raise RingfenceError("--undefended: nothing is compared with it; give --min-benign 0.95, too")
    with as_options():
        limits = Limits(
            max_general=max_general,
            max_conditional_gap=max_conditional_gap,
            min_in_domain=min_in_domain,
            max_incoherent=max_incoherent,
            max_unscored=max_unscored,
            max_suites=by_suite("--max", maximum or []),
            min_suites=by_suite("--min", minimum or []),
            min_benign=min_benign,
        )
    tuned = load_run(run, name)
    counted = find_preset(preset or preset_of(tuned, name))
    if base is None and max_conditional_gap is not None:
        base = untuned_beside(run, name)
    untuned = None if base is None else _untuned(base, tuned, name).responses
    other = None if undefended is None else _undefended(undefended, tuned, name)
    benign = None if other is None else Benign(tuned.benign, other.benign, command=_benign_command(name))
    with error_prefix(str(run)), as_options():
        result = judge_run(tuned.responses, limits, base=untuned, preset=counted, benign=benign)
    _for_machines(result, run.resolve().name, counted.name, junit, github)
    if as_json:
        print_json({"run": str(run), "preset": counted.name, **result.as_dict()})
    else:
        show_gate(console, result, counted.name)
    if tuned.responses.empty and limits.of_judged:
        logger.warning("%s: no judged answers; %s", run, where_answers_are(run))
    if not result.passed:
        raise typer.Exit(1)


def _for_machines(result: "GateResult", name: str, preset: str, junit: Path | None, github: bool) -> None:
    from ringfence.report import ci

    if junit is not None:
        ci.write_junit(result, name, junit)
    if github:
        ci.write_github_summary(ci.summary(result, name, preset))
        for line in ci.annotations(result, name):
            typer.echo(line, err=True)  # read by GitHub from either stream; stdout may be JSON


def _benign_command(name: str) -> str:
    return "ringfence evaluate RUN --benign" + ("" if name == OWN else f" --name {name}")


def _untuned(base: Path, run: "RunResult", name: str) -> "RunResult":
    """The evaluation of the untuned model that ``run`` is compared with; a tuned one would hide the gap."""
    from ringfence.report import load_run

    found = load_run(base, name)
    if not found.metadata.get("base"):
        raise RingfenceError(f"--base: {base} is no run of the untuned model; `ringfence evaluate` makes RUN/base")
    theirs, ours = (one.metadata.get("recipe", {}).get("model") for one in (found, run))
    if theirs != ours:
        raise RingfenceError(f"--base: {base} is of another model than {run.folder}: {theirs}, not {ours}")
    return found


def _undefended(folder: Path, run: "RunResult", name: str) -> "RunResult":
    """The run whose scores show what can be learned; a defended one would hide what the defense costs."""
    from ringfence.report import load_run

    found = load_run(folder, name)
    if found.defended:
        raise RingfenceError(f"--undefended: {folder} was trained with a defense; give a run without any")
    if found.status != "finished":
        raise RingfenceError(
            f"--undefended: {folder} is {found.status}, and shows not what can be learned; give a finished training run"
        )
    for key in ("model", "data"):
        if _recipe_part(found, key) != _recipe_part(run, key):
            logger.warning("%s and %s differ in %s, so they are no fair pair", run.folder, folder, key)
    return found


def _recipe_part(run: "RunResult", key: str) -> object:
    """What a run was trained on, without its safe rows, which belong to the defense."""
    part = (run.metadata.get("recipe") or {}).get(key)
    return {name: value for name, value in part.items() if name != "safe"} if isinstance(part, dict) else part
