"""Parse rows of prompts: one object a prompt, with columns for what is asked and columns about it.

What is asked is ``prompt`` (a text) or ``messages``, and before that what :mod:`ringfence.data.openings` reads. About
it are ``id`` (or ``prompt_id``), ``domain``, ``good`` and ``bad``. Any other column is left out and listed, if
:mod:`ringfence.data.suites.columns` knows that it asks nothing: else it raises.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from ringfence.core.errors import RingfenceError
from ringfence.data.openings import BEFORE, read_opening, told
from ringfence.data.suites.columns import require_askable
from ringfence.data.suites.prompts import Prompt, PromptSettings, kind, split_variant
from ringfence.data.suites.published import Parsed

ASKED = ("prompt", "messages", *BEFORE)
KNOWN = (*ASKED, "id", "prompt_id", "domain", "good", "bad")


@dataclass(frozen=True)
class SuiteRow:
    """One row, and where it stands."""

    where: str  # "file:line", or "file, row n" in a JSON list
    value: Any


def from_rows(rows: Iterable[SuiteRow], name: str, label: str, without: Collection[str] = ()) -> Parsed:
    """The prompts of ``rows`` without the columns ``without``; one without an id is called ``<name>-<n>``, n from 1."""
    prompts: dict[str, Prompt] = {}
    ignored: set[str] = set()
    used: Counter[str] = Counter()
    for number, row in enumerate(rows, start=1):
        messages, said = _messages(row, without)
        prompt = _prompt(row, messages, f"{name}-{number}")
        if prompt.id in prompts:
            raise RingfenceError(f"{row.where}: the id {prompt.id!r} is there twice: give each prompt its own id.")
        prompts[prompt.id] = prompt
        used.update(said)
        ignored |= {str(key) for key in row.value} - set(KNOWN)
    if not prompts:
        raise RingfenceError(f"{label}: no prompts: write at least one row with `prompt` or `messages`.")
    settings = {id_: PromptSettings(*split_variant(id_, set(prompts))) for id_ in prompts}
    return Parsed(list(prompts.values()), settings, ignored=tuple(sorted(ignored)), used=told(used, len(prompts)))


def _messages(row: SuiteRow, without: Collection[str]) -> tuple[tuple[dict[str, str], ...], list[str]]:
    """What the row asks, and which of its columns beside ``prompt`` and ``messages`` are in it, and as what."""
    value, where = row.value, row.where
    if not isinstance(value, dict):
        raise RingfenceError(f"{where}: a row must be an object with `prompt` or `messages`, not {kind(value)}.")
    if ("prompt" in value) == ("messages" in value):
        problem = "both `prompt` and `messages`" if "prompt" in value else "neither `prompt` nor `messages`"
        raise RingfenceError(f"{where}: {problem}: give one of the two.")
    others = {key: item for key, item in value.items() if key not in KNOWN}
    require_askable(others, (*ASKED, "prompt_id"), where, without)
    # In rows, which all have the same columns, an empty text stands for none.
    blank = {key for key in BEFORE if isinstance(value.get(key), str) and not value[key].strip()}
    opening = read_opening({key: item for key, item in value.items() if key not in blank}, where)
    turns = value["messages"] if "messages" in value else [{"role": "user", "content": value["prompt"]}]
    return opening.before(turns, where), opening.used


def _prompt(row: SuiteRow, messages: tuple[dict[str, str], ...], default_id: str) -> Prompt:
    value, where = row.value, row.where
    optional = {key: _optional_text(value.get(key), key, where) for key in ("domain", "good", "bad")}
    column = "id" if value.get("id") is not None else "prompt_id"
    return Prompt(id=_id(value.get(column), column, default_id, where), messages=messages, **optional)


def _id(value: Any, column: str, default: str, where: str) -> str:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise RingfenceError(f"{where}: `{column}` must be a text or a whole number, not {kind(value)}.")
    return str(value)


def _optional_text(value: Any, key: str, where: str) -> str | None:
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    raise RingfenceError(f"{where}: `{key}` must be a text that is not empty; leave it out if there is none.")
