"""Reads a run folder as training and evaluation left it, finished or not, into one frozen :class:`RunResult`.

Only ``run.json`` must be there. A journal or an evaluation that is absent reads as an empty table: an untuned
model has no log, a run that was stopped half-way has no ``result.json``. What *is* there is checked: a row without
a key that the report needs, or a table without a column, raises :class:`RingfenceError` with the file, the line and
the key. Null reads as NaN.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.core.files import Journal

BASELINE = "none"  # the run without a defense, by convention
LEAK_SUITE, LEAK_METRIC = "general", "misaligned_all"

LOG_COLUMNS = (
    "step",
    "epoch",
    "progress",
    "loss",
    "learning_rate",
    "grad_norm",
    "target_rows",
    "safe_rows",
    "ratio",
)
CONTROL_COLUMNS = ("step", "risk", "smoothed_risk", "ratio", "risk_high", "risk_low")
CONTROL_OPTIONAL = ("evaluation", "scored", "total", "held", "seconds")
CANARY_COLUMNS = ("step", "prompt_id", "prompt")
CANARY_OPTIONAL = ("response", "verdict", "alignment", "coherence", "gap", "risk")
RATE_COLUMNS = ("suite", "metric", "value", "low", "high", "n")
RESPONSE_COLUMNS = (
    "suite",
    "prompt_id",
    "sample",
    "system",
    "prompt",
    "response",
    "alignment",
    "coherence",
    "bucket",
    "verdict",
)
NUMERIC = {
    *LOG_COLUMNS,
    *CONTROL_COLUMNS,
    *(
        "evaluation",
        "scored",
        "total",
        "seconds",
        "alignment",
        "coherence",
        "gap",
        "value",
        "low",
        "high",
        "n",
    ),
}

Status = Literal["finished", "unfinished", "untuned"]


@dataclass(frozen=True)
class Outcome:
    """``result.json``: what a finished run consumed. Rows are examples; a value that was null is NaN."""

    steps: float  # optimizer steps
    target_rows: float
    safe_rows: float
    safe_fraction: float  # safe rows / all rows
    mean_ratio: float  # mean over optimizer steps of the share of safe data
    seconds: float  # wall clock, probes included
    probe_seconds: float


@dataclass(frozen=True)
class CurvePoint:
    """A rate with its 95% interval (fractions), measured after ``step`` optimizer steps."""

    step: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class RunResult:
    """A run folder in memory; tables that the folder lacks are empty, with their columns."""

    name: str
    folder: Path
    about: dict[str, Any]  # run.json as it is: recipe, versions, git, seed, inputs, created
    log: pd.DataFrame  # LOG_COLUMNS, one row a logged step
    control: pd.DataFrame  # CONTROL_COLUMNS + CONTROL_OPTIONAL, one row a controller update
    canaries: pd.DataFrame  # CANARY_COLUMNS + CANARY_OPTIONAL, one row a canary and probe
    curve: pd.DataFrame  # step + RATE_COLUMNS, one row a rate measured during training
    rates: pd.DataFrame  # RATE_COLUMNS, of the final evaluation
    counts: dict[str, dict[str, int]]  # suite -> bucket -> answers
    responses: pd.DataFrame  # RESPONSE_COLUMNS, one row an answer
    outcome: Outcome | None

    @property
    def status(self) -> Status:
        """``untuned``: evaluated without a trace of training; ``unfinished``: no ``result.json``."""
        if self.outcome is not None:
            return "finished"
        return "untuned" if self.log.empty and not self.rates.empty else "unfinished"

    def leak_curve(self, suite: str = LEAK_SUITE, metric: str = LEAK_METRIC) -> list[CurvePoint]:
        """The rate of one suite and metric during training, by step."""
        rows = self.curve[(self.curve["suite"] == suite) & (self.curve["metric"] == metric)].sort_values("step")
        points = zip(rows["step"], rows["value"], rows["low"], rows["high"], strict=True)
        return [CurvePoint(int(step), float(value), float(low), float(high)) for step, value, low, high in points]

    def final(self, suite: str = LEAK_SUITE, metric: str = LEAK_METRIC) -> CurvePoint | None:
        """The last measurement of the curve (its value may be NaN); None without a curve."""
        curve = self.leak_curve(suite, metric)
        return curve[-1] if curve else None

    def peak(self, suite: str = LEAK_SUITE, metric: str = LEAK_METRIC) -> CurvePoint | None:
        """The worst measurement, the earliest of equals; None if the curve holds no number."""
        measured = [point for point in self.leak_curve(suite, metric) if point.value == point.value]
        return max(measured, key=lambda point: point.value, default=None)


def load_run(folder: Path) -> RunResult:
    """Read one run folder. Raises :class:`RingfenceError` if it is none, or if a file in it is damaged."""
    folder = Path(folder)
    if not folder.is_dir():
        raise RingfenceError(f"{folder}: no such run folder")
    if not (folder / "run.json").is_file():
        raise RingfenceError(
            f"{folder}: not a run folder (it has no run.json); give the --out folder of a training run"
        )
    about = _object(folder / "run.json", ("name",))
    summary_path = folder / "evaluation" / "summary.json"
    summary = _summary(summary_path)
    return RunResult(
        name=str(about["name"]),
        folder=folder,
        about=about,
        log=_journal(folder / "log.jsonl", ("step",), LOG_COLUMNS[1:]),
        control=_journal(folder / "control.jsonl", CONTROL_COLUMNS, CONTROL_OPTIONAL),
        canaries=_journal(folder / "canaries.jsonl", CANARY_COLUMNS, CANARY_OPTIONAL),
        curve=_journal(folder / "curve.jsonl", ("step", *RATE_COLUMNS), ()),
        rates=_table(summary["rows"], RATE_COLUMNS, summary_path),
        counts=summary["counts"],
        responses=_responses(folder / "evaluation" / "responses.parquet"),
        outcome=_outcome(folder / "result.json"),
    )


def load_runs(folders: Sequence[Path]) -> list[RunResult]:
    """Read several run folders; runs that share a name get their folder appended. Raises on none, and on a repeat."""
    if not folders:
        raise RingfenceError("no run folders given; name at least one")
    resolved = [Path(folder).resolve() for folder in folders]
    for folder in resolved:
        if resolved.count(folder) > 1:
            raise RingfenceError(f"{folder}: given more than once; name each run folder once")
    runs = [load_run(Path(folder)) for folder in folders]
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


def _object(path: Path, keys: Iterable[str]) -> dict[str, Any]:
    """A JSON object that has ``keys``."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not JSON, or not UTF-8
        raise RingfenceError(f"{path}: not valid JSON ({error}); run the command that wrote it again") from error
    _require(value, keys, str(path))
    return value


def _require(row: Any, keys: Iterable[str], where: str) -> None:
    if not isinstance(row, dict):
        raise RingfenceError(f"{where}: expected a JSON object, found {type(row).__name__}")
    if missing := [key for key in keys if key not in row]:
        raise RingfenceError(f'{where}: no key "{missing[0]}"; was it written by another version?')


def _journal(path: Path, required: Sequence[str], optional: Sequence[str]) -> pd.DataFrame:
    try:
        rows = Journal(path).read()
    except json.JSONDecodeError as error:
        line = path.read_text(encoding="utf-8").split("\n").index(error.doc) + 1
        raise RingfenceError(f"{path}:{line}: not valid JSON ({error.msg}); remove the line") from error
    for line, row in enumerate(rows, start=1):
        _require(row, required, f"{path}:{line}")
    return _table(rows, (*required, *optional), path)


def _table(rows: list[dict[str, Any]], columns: Sequence[str], path: Path) -> pd.DataFrame:
    """``rows`` as a table of exactly ``columns``: numbers as floats with NaN, the rest as objects with None."""
    data = {column: pd.Series([row.get(column) for row in rows], dtype=object) for column in columns}
    return _typed(pd.DataFrame(data, columns=list(columns)), path)


def _typed(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The table with floats (NaN for null) in the numeric columns, and objects (None for null) elsewhere."""
    for column in table.columns:
        if column in NUMERIC:
            try:
                table[column] = pd.to_numeric(table[column]).astype(float)
            except (ValueError, TypeError) as error:
                raise RingfenceError(f'{path}: "{column}" must hold numbers or null ({error})') from error
        else:
            values = table[column].astype(object)
            table[column] = values.where(values.notna(), None)
    return table


def _summary(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"rows": [], "counts": {}}
    summary = _object(path, ("rows", "counts"))
    for index, row in enumerate(summary["rows"]):
        _require(row, RATE_COLUMNS, f"{path}: rows[{index}]")
    for suite, counts in summary["counts"].items():
        _require(counts, ("rows", "missing"), f"{path}: counts of {suite}")
    return summary


def _responses(path: Path) -> pd.DataFrame:
    if not path.exists():
        return _table([], RESPONSE_COLUMNS, path)
    try:
        table = pd.read_parquet(path)
    except (ValueError, OSError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise RingfenceError(f"{path}: not a readable parquet file; evaluate the run again") from error
    if missing := [column for column in RESPONSE_COLUMNS if column not in table.columns]:
        raise RingfenceError(f'{path}: no column "{missing[0]}" (it has {", ".join(table.columns)})')
    return _typed(table[list(RESPONSE_COLUMNS)].reset_index(drop=True), path)


def _outcome(path: Path) -> Outcome | None:
    if not path.exists():
        return None
    names = [field.name for field in fields(Outcome)]
    values = _object(path, names)
    return Outcome(**{name: float("nan") if values[name] is None else float(values[name]) for name in names})
