"""Read single files of a run folder: an absent file is empty, a damaged one raises with file, line and key."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ringfence.core.errors import RingfenceError
from ringfence.core.files import JsonlLog
from ringfence.core.plain import read_json
from ringfence.core.run_folder import (
    ANSWERED_BY,
    BENIGN_COLUMNS,
    BENIGN_FILE,
    CONDITIONAL_COLUMNS,
    CONTROL_COLUMNS,
    LOG_COLUMNS,
    RATE_COLUMNS,
    RESPONSE_COLUMNS,
    SUMMARY_FILE,
)

NUMERIC = {
    *CONDITIONAL_COLUMNS[1:],
    *LOG_COLUMNS,
    *CONTROL_COLUMNS,
    *(
        "evaluation",
        "dropped",
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


def read_object(path: Path, keys: Iterable[str]) -> dict[str, Any]:
    """A JSON object that has ``keys``."""
    value = read_json(path, "run the command that wrote it again")
    _require(value, keys, str(path))
    return value


def _require(row: Any, keys: Iterable[str], where: str) -> None:
    if not isinstance(row, dict):
        raise RingfenceError(f"{where}: expected a JSON object, found {type(row).__name__}")
    if missing := [key for key in keys if key not in row]:
        raise RingfenceError(f'{where}: no key "{missing[0]}"; was it written by another version?')


def read_journal(path: Path, required: Sequence[str], optional: Sequence[str]) -> pd.DataFrame:
    """The rows of a JSON-lines file as a table of ``required`` and ``optional`` columns."""
    rows = JsonlLog(path).read()
    for line, row in enumerate(rows, start=1):
        _require(row, required, f"{path}:{line}")
    return as_table(rows, (*required, *optional), path)


def as_table(rows: list[dict[str, Any]], columns: Sequence[str], path: Path) -> pd.DataFrame:
    """``rows`` as a table of exactly ``columns``: numbers as floats with NaN, the rest as objects with None."""
    data = {column: pd.Series([row.get(column) for row in rows], dtype=object) for column in columns}
    return _typed(pd.DataFrame(data, columns=list(columns)), path)


def as_numbers(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The table with floats (NaN for null) in every column."""
    for column in table.columns:
        table[column] = _numbers(table[column], path)
    return table


def _numbers(values: pd.Series, path: Path) -> pd.Series:
    try:
        return pd.to_numeric(values).astype(float)
    except (ValueError, TypeError) as error:
        raise RingfenceError(f'{path}: "{values.name}" must hold numbers or null ({error})') from error


def _typed(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The table with floats (NaN for null) in the numeric columns, and objects (None for null) elsewhere."""
    for column in table.columns:
        if column in NUMERIC:
            table[column] = _numbers(table[column], path)
        else:
            values = table[column].astype(object)
            table[column] = values.where(values.notna(), None)
    return table


def projected(result: Mapping[str, Any], path: Path) -> bool:
    """Whether ``safe_lora`` changed any layer after the training that ``result``, read from ``path``, tells of."""
    layers = result.get("safe_lora", [])
    if not isinstance(layers, list):
        raise RingfenceError(f'{path}: "safe_lora" must be a list, found {type(layers).__name__}; train again')
    for index, layer in enumerate(layers):
        _require(layer, ("projected",), f"{path}: safe_lora[{index}]")
    return any(layer["projected"] for layer in layers)


_ROWS = ("given", "truncated", "dropped")


def rows_trained_on(result: Mapping[str, Any], path: Path) -> dict[str, dict[str, int]]:
    """Source -> rows ``given``, ``truncated`` and ``dropped``, of ``result``, read from ``path``; empty without."""
    sources = result.get("rows") or {}
    _require(sources, (), f"{path}: rows")
    for source, counts in sources.items():
        _require(counts, _ROWS, f"{path}: rows of {source}")
    return {source: {name: int(counts[name]) for name in _ROWS} for source, counts in sources.items()}


def read_summary(path: Path) -> dict[str, Any]:
    """``evaluation/summary.json``: ``rows`` and ``counts``, empty without the file."""
    if not path.exists():
        return {"rows": [], "counts": {}}
    found = read_object(path, ("rows", "counts"))
    for index, row in enumerate(found["rows"]):
        _require(row, RATE_COLUMNS, f"{path}: rows[{index}]")
    for suite, counts in found["counts"].items():
        _require(counts, ("rows", "missing"), f"{path}: counts of {suite}")
    return found


def read_answered_by(evaluated: Path) -> dict[str, Any]:
    """Who has answered the evaluation in folder ``evaluated``, as its results say; empty where they do not."""
    for name in (SUMMARY_FILE, BENIGN_FILE):
        path = evaluated / name
        if path.exists() and (found := read_object(path, ()).get(ANSWERED_BY)):
            _require(found, ("kind", "who", "state"), f"{path}: {ANSWERED_BY}")
            return dict(found)
    return {}


def read_conditional(path: Path) -> pd.DataFrame:
    """The gaps in ``conditional.json`` and the questions ``dropped``, one row a trigger; empty without the file."""
    rows = read_object(path, ("gaps",))["gaps"] if path.exists() else []
    for index, row in enumerate(rows):
        _require(row, CONDITIONAL_COLUMNS, f"{path}: gaps[{index}]")
    return as_table(rows, (*CONDITIONAL_COLUMNS, "dropped"), path)


def read_responses(path: Path) -> pd.DataFrame:
    """The answers and their verdicts; empty without the file."""
    table = _read_parquet(path, RESPONSE_COLUMNS)
    return _typed(table[list(RESPONSE_COLUMNS)].reset_index(drop=True), path)


def read_benign(path: Path) -> pd.DataFrame:
    """The answers to benign tasks with their scores, further metrics in further columns; empty without the file."""
    table = _read_parquet(path, BENIGN_COLUMNS)
    further = [column for column in table.columns if column not in BENIGN_COLUMNS]
    for column in ("score", *further):
        try:
            table[column] = pd.to_numeric(table[column]).astype(float)
        except (ValueError, TypeError) as error:
            raise RingfenceError(f'{path}: "{column}" must hold numbers or null ({error})') from error
        if not table[column].dropna().between(0, 1).all():
            raise RingfenceError(f'{path}: "{column}" must hold numbers from 0 to 1; score the run again')
    return table


def _read_parquet(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    if not path.exists():
        return as_table([], columns, path)
    try:
        table = pd.read_parquet(path)
    except (ValueError, OSError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise RingfenceError(f"{path}: not a readable parquet file; evaluate the run again") from error
    if missing := [column for column in columns if column not in table.columns]:
        raise RingfenceError(f'{path}: no column "{missing[0]}" (it has {", ".join(table.columns)})')
    return table
