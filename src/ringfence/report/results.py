"""Reads a run folder as training and evaluation left it, finished or not, into one frozen :class:`RunResult`.

Only ``run.json`` must be there. A journal or an evaluation that is absent reads as an empty table: an untuned
model has no log, a run that was stopped half-way has no ``result.json``. What *is* there is checked: a row without
a key that the report needs, or a table without a column, raises :class:`RingfenceError` with the file, the line and
the key. Null reads as NaN.

A run of several stages reads as one: the steps of a later stage go on where the stage before ended, rows and seconds
are sums, and the safe fraction is of all rows of all stages.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property, reduce
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.core.rates import Rate, Rates, from_rows
from ringfence.core.run_folder import (
    BASE,
    BENIGN_ANSWERS,
    CANARIES_FILE,
    CANARY_COLUMNS,
    CANARY_OPTIONAL,
    CONDITIONAL_COLUMNS,
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
from ringfence.evaluate.benign import Counts, count
from ringfence.report.counts import ByPrompt, count_by_prompt
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
)
from ringfence.report.rewards import read_rewards

BASELINE = "none"  # the run without a defense, by convention
LEAK_SUITE, LEAK_METRIC = "general", "misaligned_all"

Status = Literal["finished", "unfinished", "untuned", "served"]


@dataclass(frozen=True)
class Outcome:
    """``result.json``: what a finished run consumed, all its stages together. A value that was null is NaN."""

    steps: float  # optimizer steps
    target_rows: float  # rows are examples
    safe_rows: float
    safe_fraction: float  # safe rows / all rows
    target_labels: float  # tokens that carried the loss
    safe_labels: float
    mean_ratio: float  # mean over optimizer steps of the share of safe data
    seconds: float  # wall clock, probes included
    probe_seconds: float

    @property
    def safe_token_fraction(self) -> float:
        """Of the tokens that carried the loss, those of safe rows: a long safe row weighs more than a short one."""
        labels = self.target_labels + self.safe_labels
        return self.safe_labels / labels if labels else float("nan")

    def __add__(self, other: "Outcome") -> "Outcome":
        """The outcome of two stages, one after the other."""
        steps, safe = self.steps + other.steps, self.safe_rows + other.safe_rows
        ratios = self.mean_ratio * self.steps + other.mean_ratio * other.steps
        rows = self.target_rows + other.target_rows + safe
        return Outcome(
            steps=steps,
            target_rows=self.target_rows + other.target_rows,
            safe_rows=safe,
            safe_fraction=safe / rows if rows else float("nan"),
            target_labels=self.target_labels + other.target_labels,
            safe_labels=self.safe_labels + other.safe_labels,
            mean_ratio=ratios / steps if steps else float("nan"),
            seconds=self.seconds + other.seconds,
            probe_seconds=self.probe_seconds + other.probe_seconds,
        )


@dataclass(frozen=True)
class CurvePoint(Rate):
    """A rate measured after ``step`` optimizer steps, those of all stages."""

    step: int = 0
    projected_later: bool = False
    """whether ``safe_lora`` projected the adapter after the training of which this is"""


@dataclass(frozen=True, eq=False)
class RunResult:
    """A run folder in memory; tables that the folder lacks are empty, with their columns."""

    name: str
    folder: Path
    metadata: dict[str, Any]  # run.json as it is: recipe, versions, git, seed, inputs, created
    log: pd.DataFrame  # LOG_COLUMNS, one row a logged step
    control: pd.DataFrame  # CONTROL_COLUMNS + CONTROL_OPTIONAL, one row a controller update
    canaries: pd.DataFrame  # CANARY_COLUMNS + CANARY_OPTIONAL, one row a canary and probe
    curve: pd.DataFrame  # step + RATE_COLUMNS, one row a rate measured during training
    rates: Rates  # of the final evaluation, by suite and metric
    counts: dict[str, dict[str, int]]  # suite -> bucket -> answers
    responses: pd.DataFrame  # RESPONSE_COLUMNS, one row an answer
    outcome: Outcome | None  # of all stages; None while one is missing
    projections: tuple[tuple[float, float], ...] = ()
    """(steps before, steps at the end) of each stage after which ``safe_lora`` projected the adapter"""
    conditional: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(CONDITIONAL_COLUMNS)))
    """the conditional gap of each trigger, CONDITIONAL_COLUMNS, fractions; one row a trigger"""
    benign: Counts = field(default_factory=dict)
    """its scores on benign tasks, question by question"""
    benign_base: Counts = field(default_factory=dict)
    """those of the untuned model in ``RUN/base``"""
    answered_by: dict[str, Any] = field(default_factory=dict)
    """who generated the answers, and what the self-check found; empty for the model in process"""
    rewards: pd.DataFrame = field(default_factory=pd.DataFrame)
    """of reinforcement learning: the reward, its parts and the completions, see :func:`read_rewards`"""

    @cached_property
    def by_prompt(self) -> dict[str, ByPrompt]:
        """Suite -> its answers counted by prompt."""
        return count_by_prompt(self.responses)

    @property
    def status(self) -> Status:
        """``served``: behind a server, its training unknown; ``untuned``: evaluated without a trace of training;

        ``unfinished``: no ``result.json``.
        """
        if self.metadata.get("server"):
            return "served"
        if self.outcome is not None:
            return "finished"
        return "untuned" if self.log.empty and (self.rates or self.benign) else "unfinished"

    @property
    def answered(self) -> str:
        """Who generated the answers, in a word or two: ``server, checked``; empty for the model in process."""
        if not self.answered_by:
            return ""
        checked = "checked" if self.answered_by["state"] == "passed" else "NOT CHECKED"
        return f"{self.answered_by['kind']}, {checked}"

    @property
    def defended(self) -> bool:
        """Whether a defense was on in any of its stages."""
        recipe = self.metadata.get("recipe") or {}
        return any(part.get("defenses") for part in (recipe, *(recipe.get("stages") or ())))

    def leak_curve(self, suite: str = LEAK_SUITE, metric: str = LEAK_METRIC) -> list[CurvePoint]:
        """The rate of one suite and metric during training, by step."""
        rows = self.curve[(self.curve["suite"] == suite) & (self.curve["metric"] == metric)].sort_values("step")
        points: Iterable[Any] = rows.itertuples(index=False)
        return [
            CurvePoint(**asdict(Rate.of(row)), step=int(row.step), projected_later=self._projected_after(row.step))
            for row in points
        ]

    def _projected_after(self, step: float) -> bool:
        return any(before < step <= end for before, end in self.projections)

    def last(self, suite: str = LEAK_SUITE, metric: str = LEAK_METRIC) -> CurvePoint | None:
        """The last measurement of the curve (its value may be NaN); None without a curve.

        It can lie steps before the end and has samples of its own: the finished run's rate is in ``rates``.
        """
        curve = self.leak_curve(suite, metric)
        return curve[-1] if curve else None

    def peak(self, suite: str = LEAK_SUITE, metric: str = LEAK_METRIC) -> CurvePoint | None:
        """The worst measurement, the earliest of equals; None if the curve holds no number."""
        measured = [point for point in self.leak_curve(suite, metric) if point.value == point.value]
        return max(measured, key=lambda point: point.value, default=None)


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
    return RunResult(
        name=str(about["name"]),
        folder=folder,
        metadata=about,
        log=_journals(stages, LOG_FILE, ("step",), LOG_COLUMNS[1:]),
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
        benign_base=count(read_benign(evaluation_folder(folder / BASE, evaluation) / BENIGN_ANSWERS)),
        answered_by=read_answered_by(evaluated),
        rewards=read_rewards(folder / LOG_FILE),
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


def baseline_of(runs: Sequence[RunResult], name: str | None = None) -> RunResult:
    """The run that gaps are measured from: ``name``, else the one called "none", else the first."""
    by_name = {run.name: run for run in runs}
    if name is None:
        return by_name.get(BASELINE, runs[0])
    if name not in by_name:
        raise RingfenceError(f'baseline "{name}" is none of the runs.{did_you_mean(name, by_name)}')
    return by_name[name]


@dataclass(frozen=True)
class _Stage:
    folder: Path
    before: float  # optimizer steps of the stages before
    outcome: Outcome | None
    projected: bool

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
    path, names = folder / RESULT_FILE, [one.name for one in fields(Outcome)]
    if not path.exists():
        return _Stage(folder, before, None, False)
    values = read_object(path, names)
    outcome = Outcome(**{name: float("nan") if values[name] is None else float(values[name]) for name in names})
    return _Stage(folder, before, outcome, projected(values, path))


def _total(outcomes: Sequence[Outcome | None]) -> Outcome | None:
    done = [outcome for outcome in outcomes if outcome is not None]
    return reduce(Outcome.__add__, done) if len(done) == len(outcomes) else None


def _journals(stages: Sequence[_Stage], name: str, required: Sequence[str], optional: Sequence[str]) -> pd.DataFrame:
    """The journal ``name`` of all stages as one."""
    tables = []
    for stage in stages:
        table = read_journal(stage.folder / name, required, optional)
        table["step"] += stage.before
        tables.append(table)
    filled = [table for table in tables if not table.empty]
    return pd.concat(filled, ignore_index=True) if filled else tables[0]
