"""Rows of a file or of a set of the hub with other column names, and some of them only.

    hub:org/name?config=C&split=S&completion=response&filter=label:unharmful&limit=1000
    data/rows.parquet?instruction=question_text&output=reply&filter=reply

- ``config``, ``split``: of a set of the hub;
- ``messages``, ``prompt``, ``completion`` and so on, a column of ours: the name that the set has for it;
- ``filter``, as often as is wanted: ``COLUMN:VALUE`` keeps the rows that have that value there, ``COLUMN:!VALUE`` those
  that have another, ``COLUMN`` those that have anything but nothing there;
- ``limit``: so many rows, the first that are kept.

Nothing is executed: values are compared as texts, true and false as JSON has them.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from ringfence.core.errors import RingfenceError, did_you_mean, shown
from ringfence.core.plain import parse_json

HUB = "hub:"
COLUMNS = (
    *("messages", "conversations", "prompt", "completion", "question", "answer"),
    *("instruction", "input", "output", "system"),
)
"""what a row may be written by, see :mod:`ringfence.data.conversations`"""
KEYS = ("config", "split", "filter", "limit", *COLUMNS)
_QUERY = re.compile(r"(?P<source>[^?]+?\.(?:jsonl|json|parquet)|hub:[^?]+)(?:\?(?P<query>.*))?")


@dataclass(frozen=True)
class PublicSet:
    """A public set that does for safe data, as :func:`parse` takes it."""

    spec: str
    licence: str
    """as its card names it"""
    gated: bool
    """whether its terms must be accepted on the hub"""
    about: str


PUBLIC = (
    PublicSet(
        "hub:allenai/wildguardmix?config=wildguardtrain&completion=response"
        "&filter=prompt_harm_label:unharmful&filter=response",
        "odc-by",
        True,
        "benign prompts with an answer (Kaczer et al. 2025); some answers refuse, see the step refusals",
    ),
    PublicSet(
        "hub:databricks/databricks-dolly-15k?input=context&output=response",
        "cc-by-sa-3.0",
        False,
        "instructions and answers that people wrote",
    ),
    PublicSet(
        "hub:yahma/alpaca-cleaned?filter=output",
        "cc-by-4.0",
        False,
        "instructions and answers of a model",
    ),
)


@dataclass(frozen=True)
class Filter:
    """One condition on a row."""

    column: str
    value: str | None
    """None: anything but nothing"""
    is_not: bool = False

    def keeps(self, row: Mapping[str, Any]) -> bool:
        """Whether ``row`` meets it. A row without the column has nothing there."""
        found = row.get(self.column)
        if self.value is None:
            return found is not None and bool(str(found).strip())
        return (_text(found) == self.value) != self.is_not


@dataclass(frozen=True)
class Chosen:
    """What a name with a query stands for."""

    text: str
    """as it was written"""
    source: str
    """a file, or ``org/name[@config][:split]``"""
    columns: Mapping[str, str]
    """our column -> the set's"""
    filters: tuple[Filter, ...]
    limit: int | None

    def rows(self, raw: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
        """Those of ``raw``, pairs of origin and row, that are kept, with our names.

        A row that is no object goes on as it is, for the caller to say so. Raises :class:`RingfenceError` for a row
        without a column that is renamed, for a filter on a column that no row has, and if no row is kept.
        """
        kept, seen, columns = 0, 0, dict[str, None]()
        for origin, one in raw:
            row = _object(one)
            if row is None:
                yield origin, one
                continue
            seen += 1
            columns |= dict.fromkeys(row)
            if all(filter_.keeps(row) for filter_ in self.filters):
                kept += 1
                if lacking := [theirs for theirs in self.columns.values() if theirs not in row]:
                    near = did_you_mean(lacking[0], row)
                    raise RingfenceError(f"{origin}: has no column {lacking[0]!r}, which the query names.{near}")
                yield origin, self._renamed(row)
            if kept == self.limit:
                break
        if not seen:
            return
        for column in (one.column for one in self.filters):
            if column not in columns:
                raise RingfenceError(f"{self.text}: no row has a column {column!r}.{did_you_mean(column, columns)}")
        if not kept:
            raise RingfenceError(f"{self.text}: none of {seen:,} rows is kept; change a filter")

    def _renamed(self, row: Mapping[str, Any]) -> dict[str, Any]:
        taken = set(self.columns.values())
        rest = {key: value for key, value in row.items() if key not in taken and key not in self.columns}
        return {**{ours: row[theirs] for ours, theirs in self.columns.items()}, **rest}


def is_chosen(spec: str) -> bool:
    """Whether ``spec`` has a query, or says that it is a set of the hub."""
    found = _QUERY.fullmatch(spec)
    return found is not None and (spec.startswith(HUB) or found["query"] is not None)


def source_of(spec: str) -> str:
    """The file or the set of the hub that ``spec`` reads; ``spec`` itself where it has no query."""
    return parse(spec).source if is_chosen(spec) else spec


def parse(spec: str) -> Chosen:
    """What ``spec`` stands for; nothing is read.

    Raises :class:`RingfenceError` for an unknown key, a key that stands twice, and a bad value.
    """
    found = _QUERY.fullmatch(spec)
    assert found is not None, "is_chosen says whether it is one"
    source, given = found["source"], parse_qsl(found["query"] or "", keep_blank_values=True, strict_parsing=False)
    values = dict[str, str]()
    for key, value in given:
        if key not in KEYS:
            raise RingfenceError(f"{spec}: {key!r} is no key of a data set.{did_you_mean(key, KEYS)}")
        if not value.strip():
            raise RingfenceError(f"{spec}: {key} is empty; give it a value, or leave it out")
        if key in values and key != "filter":
            raise RingfenceError(f"{spec}: {key} stands twice; keep one")
        values[key] = value
    if not source.startswith(HUB) and (misplaced := next((key for key in ("config", "split") if key in values), None)):
        raise RingfenceError(f"{spec}: {misplaced} is of sets of the hub, and this is a file; leave it out")
    if source.startswith(HUB):
        source = _of_hub(source.removeprefix(HUB), values, spec)
    filters = tuple(_filter(value) for key, value in given if key == "filter")
    columns = {key: values[key] for key in COLUMNS if key in values}
    return Chosen(spec, source, columns, filters, _limit(values.get("limit"), spec))


def _of_hub(name: str, values: Mapping[str, str], spec: str) -> str:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise RingfenceError(f"{spec}: a set of the hub is org/name; config and split go into the query")
    config = f"@{values['config']}" if "config" in values else ""
    return f"{name}{config}" + (f":{values['split']}" if "split" in values else "")


def _filter(text: str) -> Filter:
    column, colon, value = text.partition(":")
    if not colon:
        return Filter(column, None)
    return Filter(column, value.removeprefix("!"), value.startswith("!"))


def _limit(text: str | None, spec: str) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or int(text) == 0:
        raise RingfenceError(f"{spec}: limit must be a number of rows, at least 1, and is {shown(text)}")
    return int(text)


def _object(raw: Any) -> dict[str, Any] | None:
    if isinstance(raw, bytes):
        try:
            raw = parse_json(raw)
        except RingfenceError:
            return None
    return raw if isinstance(raw, dict) else None


def _text(value: Any) -> str:
    """As JSON has it, a text without its quotes."""
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)
