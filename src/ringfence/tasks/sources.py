"""Read the rows of a task from the user's file or from the hub, and part a file that has no splits.

A ``source`` is one of these:

- a hub id ``org/name[@config]``, whose splits are called ``train`` and ``test``;
- a path with ``{split}`` in it, such as ``gsm8k/{split}.jsonl``: a file a split;
- any other path: one file, of which a fixed tenth is for testing, so that the same name trains and evaluates.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ringfence.core.errors import RingfenceError, error_prefix, shown
from ringfence.core.plain import parse_json
from ringfence.data.rows import HUB_ID, is_hub_id, raw_rows
from ringfence.data.task import Split
from ringfence.tasks.drawing import fraction_of, size_of_test

T = TypeVar("T")
SPLIT = "{split}"


@dataclass(frozen=True)
class SourceRow:
    """One row, and where it stands."""

    origin: str
    """``file:line``, or ``id:row``"""
    value: Mapping[str, Any]


def read_source(source: str, split: Split, columns: Sequence[str], config: str | None = None) -> list[SourceRow]:
    """The rows of a split, which have all of ``columns``; a file without splits is parted by the text of the first.

    ``config`` is that of a hub id that names none. Raises :class:`RingfenceError`, naming file and line, for what
    cannot be read and for a row without the columns.
    """
    if is_hub_id(source):
        return _rows(_of_hub(source, split, config), columns)
    if SPLIT in source:
        return _rows(source.replace(SPLIT, split), columns)
    rows = _rows(source, columns)
    places = [fraction_of(str(row.value[columns[0]])) for row in rows]
    tested = sorted(places)[: size_of_test(len(rows))]
    last = tested[-1] if tested else -1.0  # rows of one text stay together
    return [row for row, place in zip(rows, places, strict=True) if (place <= last) == (split == "test")]


def chosen(rows: Sequence[T], n: int | None, seed: int, what: str) -> list[T]:
    """``n`` of ``rows``, drawn with ``seed``, in their order; None: all.

    Raises :class:`RingfenceError` that says how many there are of ``what``.
    """
    if n is None:
        return [*rows]
    if n > len(rows):
        raise RingfenceError(f"n: {n:,} rows are asked for, and there are only {len(rows):,} of {what}; ask for fewer")
    return [rows[place] for place in sorted(random.Random(f"rows {seed}").sample(range(len(rows)), n))]


def _of_hub(source: str, split: Split, config: str | None) -> str:
    hub = HUB_ID.fullmatch(source)
    assert hub is not None
    if hub["split"] is not None:
        raise RingfenceError(f"source: {shown(source)} names a split; leave it out, as the key `split` says which")
    return f"{source}:{split}" if hub["config"] or config is None else f"{source}@{config}:{split}"


def _rows(spec: str, columns: Sequence[str]) -> list[SourceRow]:
    found = []
    for origin, raw in raw_rows(spec, [columns]):
        with error_prefix(origin):
            value = parse_json(raw) if isinstance(raw, bytes) else raw
            if not isinstance(value, dict):
                raise RingfenceError(f"a row must be an object, this one is of type {type(value).__name__}")
            lacking = [column for column in columns if column not in value]
            if lacking:
                there = ", ".join(map(str, value)) or "none"
                raise RingfenceError(
                    f"no column `{lacking[0]}`; the task reads {', '.join(columns)}, and found {shown(there)}"
                )
            if empty := [column for column in columns if value[column] is None]:
                raise RingfenceError(f"`{empty[0]}` is null; give it a value, or remove the row")
        found.append(SourceRow(origin, value))
    if not found:
        raise RingfenceError(f"{spec}: is empty; give at least one row")
    return found
