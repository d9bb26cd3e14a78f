"""A paper's own numbers, ``published.csv`` beside its recipes: facts to stand beside what is measured.

``table`` is the file's name of a sweep in the same folder, ``row`` a row of that sweep (a run's name without its seed,
or the name of a set), ``column`` what was measured, as ``SUITE/METRIC``: ``general/misaligned_all``. ``spread`` is a
standard deviation over seeds or runs, empty where there is none. Lines that begin with ``#`` are remarks.
"""

import csv
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ringfence.core.errors import RingfenceError, did_you_mean, shown
from ringfence.sweep.plan import SweepPlan

FILE = "published.csv"
COLUMNS = ("table", "row", "column", "value", "spread", "source")


@dataclass(frozen=True)
class Published:
    """One number."""

    table: str
    row: str
    column: str
    value: float
    """as printed, percent or points included"""
    spread: float | None
    source: str
    """where in the paper"""
    line: int
    """of the file, from 1"""


def load_published(path: Path) -> tuple[Published, ...]:
    """The numbers in ``path``.

    Raises :class:`RingfenceError` with file and line for other columns than :data:`COLUMNS`, for what is no finite
    number, for an empty cell other than ``spread``, and for a number that is there twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RingfenceError(f"{path}: cannot read the published numbers ({error})") from None
    found = dict[tuple[str, str, str], Published]()
    for one in _rows(path, lines):
        key = (one.table, one.row, one.column)
        if key in found:
            raise RingfenceError(
                f"{path}:{one.line}: {' '.join(key)} is in line {found[key].line} already; keep one of them"
            )
        found[key] = one
    return tuple(found.values())


def _rows(path: Path, lines: list[str]) -> Iterator[Published]:
    header: list[str] | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = next(csv.reader([line], skipinitialspace=True))
        where = f"{path}:{number}"
        if header is None:
            header = cells
            if tuple(cells) != COLUMNS:
                raise RingfenceError(f"{where}: the columns are {','.join(cells)}, and not {','.join(COLUMNS)}")
            continue
        if len(cells) != len(COLUMNS):
            raise RingfenceError(f"{where}: {len(cells)} cells, and not {len(COLUMNS)}")
        table, row, column, value, spread, source = cells
        for name, text in zip(COLUMNS, cells, strict=True):
            if not text and name != "spread":
                raise RingfenceError(f"{where}: {name} is empty")
        spread_of = _number(spread, f"{where}: spread") if spread else None
        yield Published(table, row, column, _number(value, f"{where}: value"), spread_of, source, number)
    if header is None:
        raise RingfenceError(f"{path}: is empty; its first line is {','.join(COLUMNS)}")


def _number(text: str, where: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise RingfenceError(f"{where}: {shown(text)} is no finite number")
    return found


def require_counterparts(published: Iterable[Published], plans: Iterable[SweepPlan], path: Path) -> None:
    """Raise :class:`RingfenceError` for a published number whose table has no sweep, or whose row no run or set.

    ``path`` is the file's that they are from, for the message.
    """
    rows = {plan.table: plan.rows for plan in plans}
    for one in published:
        where = f"{path}:{one.line}"
        if one.table not in rows:
            raise RingfenceError(f"{where}: no sweep is called {one.table}.{did_you_mean(one.table, rows)}")
        if one.row not in rows[one.table]:
            near = did_you_mean(one.row, rows[one.table])
            raise RingfenceError(f"{where}: {one.table} has no row {one.row!r}.{near}")


def without_numbers(published: Iterable[Published], plans: Iterable[SweepPlan]) -> dict[str, tuple[str, ...]]:
    """Of each sweep the rows that have no published number; sweeps without such rows are left out."""
    known = {(one.table, one.row) for one in published}
    rows = {plan.table: tuple(row for row in plan.rows if (plan.table, row) not in known) for plan in plans}
    return {table: left for table, left in rows.items() if left}
