"""Reads a run folder as training and evaluation left it, finished or not, into one frozen :class:`RunResult`.

Only ``run.json`` must be there. A journal or an evaluation that is absent reads as an empty table: an untuned
model has no log, a run that was stopped half-way has no ``result.json``. What *is* there is checked: a row without
a key that the report needs, or a table without a column, raises :class:`RingfenceError` with the file, the line and
the key. Null reads as NaN.

A run of several stages reads as one: the steps of a later stage go on where the stage before ended, rows and seconds
are sums, and the safe fraction is of all rows of all stages.
"""

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import reduce
from pathlib import Path
from typing import Any

import pandas as pd

from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.core.rates import from_rows
from ringfence.core.run_folder import (
    BASE,
    BENIGN_ANSWERS,
    CANARIES_FILE,
    CANARY_COLUMNS,
    CANARY_OPTIONAL,
    CONDITIONAL_FILE,
    CONTROL_COLUMNS,
    CONTROL_FILE,
    CONTROL_OPTIONAL,
    CURVE_FILE,
    LOG_COLUMNS,
    LOG_FILE,
    OWN,
    RATE_COLUMNS,
    RESPONSES_FILE,
    RESULT_FILE,
    RUN_FILE,
    SUMMARY_FILE,
    evaluation_folder,
    stage_folders,
)
from ringfence.evaluate.benign import count
from ringfence.report.penalties import read_penalties
from ringfence.report.reading import (
    as_table,
    projected,
    read_answered_by,
    read_benign,
    read_conditional,
    read_journal,
    read_object,
    read_responses,
    read_summary,
    rows_trained_on,
)
from ringfence.report.results import Outcome, RunResult
from ringfence.report.rewards import STEP, read_rewards


def load_run(folder: Path, evaluation: str = OWN) -> RunResult:
    """Read one run folder, and of its evaluations the one called ``evaluation``.

    Raises :class:`RingfenceError` if it is no run folder, or if a file in it is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RingfenceError(f"{folder}: no such run folder")
    if not (folder / RUN_FILE).is_file():
        raise RingfenceError(
            f"{folder}: not a run folder (it has no run.json); give the --out folder of a training run"
        )
    about = read_object(folder / RUN_FILE, ("name",))
    evaluated = evaluation_folder(folder, evaluation)
    if evaluation != OWN and not evaluated.is_dir():
        known = [OWN, *(path.name for path in evaluated.parent.glob("*"))]
        raise RingfenceError(f"{folder}: has no evaluation {evaluation!r}.{did_you_mean(evaluation, known)}")
    summary_path = evaluated / SUMMARY_FILE
    summary = read_summary(summary_path)
    stages = _stages(folder, about)
    log = _journals(stages, LOG_FILE, ("step",), LOG_COLUMNS[1:])
    penalties = _joined([read_penalties(one.folder / LOG_FILE, about.get("recipe") or {}) for one in stages], stages)
    rewards, beside = read_rewards(folder / LOG_FILE), evaluation_folder(folder / BASE, evaluation)
    return RunResult(
        name=str(about["name"]),
        folder=folder,
        metadata=about,
        log=log,
        control=_journals(stages, CONTROL_FILE, CONTROL_COLUMNS, CONTROL_OPTIONAL),
        canaries=_journals(stages, CANARIES_FILE, CANARY_COLUMNS, CANARY_OPTIONAL),
        curve=_journals(stages, CURVE_FILE, ("step", *RATE_COLUMNS), ()),
        rates=from_rows(as_table(summary["rows"], RATE_COLUMNS, summary_path).itertuples(index=False)),
        counts=summary["counts"],
        responses=read_responses(evaluated / RESPONSES_FILE),
        outcome=_total([stage.outcome for stage in stages]),
        projections=tuple((stage.before, stage.end) for stage in stages if stage.projected),
        conditional=read_conditional(evaluated / CONDITIONAL_FILE),
        benign=count(read_benign(evaluated / BENIGN_ANSWERS)),
        benign_base=count(read_benign(beside / BENIGN_ANSWERS)),
        untuned=read_responses(beside / RESPONSES_FILE),
        rows=_rows(stages),
        answered_by=read_answered_by(evaluated),
        rewards=rewards.drop(columns=[name for name in penalties if name in rewards and name != STEP]),
        penalties=penalties,
    )


def load_runs(folders: Sequence[Path], evaluation: str = OWN) -> list[RunResult]:
    """Read several run folders, of each the evaluation called ``evaluation``.

    Runs that share a name get their folder appended. Raises on none, and on a repeat.
    """
    if not folders:
        raise RingfenceError("no run folders given; name at least one")
    resolved = [Path(folder).resolve() for folder in folders]
    for folder in resolved:
        if resolved.count(folder) > 1:
            raise RingfenceError(f"{folder}: given more than once; name each run folder once")
    runs = [load_run(Path(folder), evaluation) for folder in folders]
    names = [run.name for run in runs]
    return [replace(run, name=f"{run.name} ({run.folder})") if names.count(run.name) > 1 else run for run in runs]


@dataclass(frozen=True)
class _Stage:
    folder: Path
    before: float  # optimizer steps of the stages before
    outcome: Outcome | None
    projected: bool
    rows: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def end(self) -> float:
        """Optimizer steps of this stage and those before; a stage without an outcome has none."""
        return self.before + (self.outcome.steps if self.outcome else 0.0)


def _stages(folder: Path, about: dict[str, Any]) -> list[_Stage]:
    """The stages that the recipe in ``run.json`` names; a stage after an unfinished one has not begun."""
    recipe = about.get("recipe")
    later = recipe.get("stages") if isinstance(recipe, dict) else None
    found, steps = list[_Stage](), 0.0
    for at in stage_folders(folder, [stage["name"] for stage in later or []]):
        found.append(_stage(at, steps))
        steps = found[-1].end
    return found


def _stage(folder: Path, before: float) -> _Stage:
    path, names = folder / RESULT_FILE, [one.name for one in fields(Outcome) if one.default is MISSING]
    if not path.exists():
        return _Stage(folder, before, None, False)
    values = read_object(path, names)
    names += [one.name for one in fields(Outcome) if one.name in values and one.name not in names]
    outcome = Outcome(**{name: float("nan") if values[name] is None else float(values[name]) for name in names})
    return _Stage(folder, before, outcome, projected(values, path), rows_trained_on(values, path))


def _total(outcomes: Sequence[Outcome | None]) -> Outcome | None:
    done = [outcome for outcome in outcomes if outcome is not None]
    return reduce(Outcome.__add__, done) if len(done) == len(outcomes) else None


def _rows(stages: Sequence[_Stage]) -> dict[str, dict[str, int]]:
    """What became of the rows of each source in all stages."""
    total: dict[str, dict[str, int]] = {}
    for stage in stages:
        for source, counts in stage.rows.items():
            so_far = total.setdefault(source, dict.fromkeys(counts, 0))
            for name, rows in counts.items():
                so_far[name] += rows
    return total


def _journals(stages: Sequence[_Stage], name: str, required: Sequence[str], optional: Sequence[str]) -> pd.DataFrame:
    """The journal ``name`` of all stages as one."""
    return _joined([read_journal(stage.folder / name, required, optional) for stage in stages], stages)


def _joined(tables: Sequence[pd.DataFrame], stages: Sequence[_Stage]) -> pd.DataFrame:
    """The tables of all stages as one, the steps of each after those of the stages before."""
    for table, stage in zip(tables, stages, strict=True):
        table["step"] += stage.before
    filled = [table for table in tables if not table.empty]
    return pd.concat(filled, ignore_index=True) if filled else tables[0]
