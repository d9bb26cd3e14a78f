"""Read a file of prompts in any supported format: rows of our own, or questions as other projects publish them."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ringfence.core.errors import RingfenceError
from ringfence.core.plain import JsonError, parse_json, refuse_pointer
from ringfence.data.json_files import rows_in
from ringfence.data.suites.columns import require_nothing_asked
from ringfence.data.suites.fills import Fills
from ringfence.data.suites.prompts import kind
from ringfence.data.suites.published import Parsed, parse_trait, parse_yaml
from ringfence.data.suites.rows import SuiteRow, from_rows

SUFFIXES = (".jsonl", ".json", ".yaml", ".yml")
TRAIT = {"questions", "eval_prompt", "instruction"}
"""keys by which a trait file is known"""


def parse_file(
    content: bytes, label: str, name: str, suffix: str, fills: Mapping[str, str], without: Collection[str] = ()
) -> Parsed:
    """The prompts in ``content``, the bytes of a file with the extension ``suffix``, one of :data:`SUFFIXES`.

    ``label`` names the file in messages, ``name`` is what prompts without an id are called after, and ``fills`` are
    texts for ``{placeholders}`` in a YAML file. ``without`` are columns of which the user says that every question is
    complete without them. Raises :class:`RingfenceError` with file and line for what is missing, malformed or there
    twice.
    """
    refuse_pointer(content, label)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RingfenceError(f"{label}: cannot read the prompts: {error}") from error
    filled = Fills(fills, label)
    if suffix in {".yaml", ".yml"}:
        parsed = parse_yaml(text, label, filled, without)
    elif suffix == ".jsonl":
        parsed = from_rows(_lines(text, label), name, label, without)
    else:
        parsed = _json(text, label, name, without)
    filled.require_all_used()
    for column in without:
        if column not in parsed.ignored:
            raise RingfenceError(f"{label}: no column `{column}` that could be left out.")
    return parsed


def require_suffix(path: str) -> str:
    """The extension of a file of prompts. Raises :class:`RingfenceError` for any other."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        known = f"a {', '.join(SUFFIXES)} file, builtin:NAME, suite:NAME or task:NAME"
        raise RingfenceError(f"{path}: not a set of prompts: give {known}")
    return suffix


def _json(text: str, label: str, name: str, without: Collection[str]) -> Parsed:
    """A list of rows, one row, an object around a list of rows, or a trait file, whose ``questions`` are texts."""
    value = _parse(text, label, 1)
    if isinstance(value, dict) and _is_trait(value):
        return parse_trait(value, label, name, without)
    rows = rows_in(value, lambda one: bool({"prompt", "messages"} & set(one)))
    if rows is None:
        what = f"a list of rows, not {kind(value)} without one"
        raise RingfenceError(f"{label}: a .json file of prompts must hold {what}.")
    numbered = [SuiteRow(f"{label}, row {n}", row) for n, row in enumerate(rows, start=1)]
    parsed = from_rows(numbered, name, label, without)
    if not isinstance(value, dict) or rows == [value]:
        return parsed
    around = {str(key): item for key, item in value.items() if item is not rows}
    require_nothing_asked({key: item for key, item in around.items() if key not in without}, label)
    return replace(parsed, ignored=tuple(sorted({*parsed.ignored, *around})))


def _is_trait(value: dict[str, Any]) -> bool:
    questions = value.get("questions")
    of_rows = isinstance(questions, list) and any(isinstance(question, dict) for question in questions)
    return bool(TRAIT & set(value)) and not of_rows


def _lines(text: str, label: str) -> Iterator[SuiteRow]:
    # Not splitlines(), which also breaks at characters that JSON allows inside a string.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield SuiteRow(f"{label}:{number}", _parse(line, label, number))
        except RingfenceError:
            if _is_json(text):
                problem = "one JSON value over several lines, and a .jsonl file has one row a line: call it .json"
                raise RingfenceError(f"{label}: {problem}.") from None
            raise


def _is_json(text: str) -> bool:
    try:
        parse_json(text)
    except JsonError:
        return False
    return True


def _parse(text: str, label: str, first_line: int) -> Any:
    try:
        return parse_json(text)
    except JsonError as error:
        second = isinstance(error.__cause__, json.JSONDecodeError) and error.__cause__.msg == "Extra data"
        problem = "a second JSON value: a file with one row a line is called .jsonl" if second else str(error)
        raise RingfenceError(f"{label}:{first_line + error.line - 1}: {problem}.") from error
