"""Rows of prompts: one object a prompt, with columns for what is asked and columns about it.

What is asked is ``prompt`` (a text) or ``messages``, and before that

- the system message, if there is one, in ``system``, ``system_prompt`` or ``system_message``,
- ``context``: a list of turns; or a text that plainly is the system message, as it tells the model who it is.

About it are ``id`` (or ``prompt_id``), ``domain``, ``good`` and ``bad``. Any other column is left out and listed,
unless the question would not be the same without it: then it raises.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ringfence.core.errors import RingfenceError
from ringfence.data.prompts import Prompt, PromptSettings, checked_messages, kind, require_askable, split_variant
from ringfence.data.published import Parsed

SYSTEM = ("system", "system_prompt", "system_message")
ASKED = ("prompt", "messages", *SYSTEM, "context")
KNOWN = (*ASKED, "id", "prompt_id", "domain", "good", "bad")

# A text that speaks to the model of its part, as no passage to be asked about does.
_ADDRESSED = re.compile(
    r"\s*(you are|you're|your (role|task|job) is|act as|pretend (to be|that you)|from now on)\b", re.I
)


@dataclass(frozen=True)
class Row:
    """One row, and where it stands."""

    where: str  # "file:line", or "file, row n" in a JSON list
    value: Any


def from_rows(rows: Iterable[Row], name: str, label: str) -> Parsed:
    """The prompts of ``rows``; one without an id is called ``<name>-<n>``, n from 1."""
    prompts: dict[str, Prompt] = {}
    ignored: set[str] = set()
    used: Counter[str] = Counter()
    for number, row in enumerate(rows, start=1):
        messages, said = _messages(row)
        prompt = _prompt(row, messages, f"{name}-{number}")
        if prompt.id in prompts:
            raise RingfenceError(f"{row.where}: the id {prompt.id!r} is there twice: give each prompt its own id.")
        prompts[prompt.id] = prompt
        used.update(said)
        ignored |= {str(key) for key in row.value} - set(KNOWN)
    if not prompts:
        raise RingfenceError(f"{label}: no prompts: write at least one row with `prompt` or `messages`.")
    settings = {id_: PromptSettings(*split_variant(id_, set(prompts))) for id_ in prompts}
    told = tuple(f"{what}, in {count} of {len(prompts)} prompts" for what, count in sorted(used.items()))
    return Parsed(list(prompts.values()), settings, ignored=tuple(sorted(ignored)), used=told)


def _messages(row: Row) -> tuple[tuple[dict[str, str], ...], list[str]]:
    """What the row asks, and which of its columns beside ``prompt`` and ``messages`` are in it, and as what."""
    value, where = row.value, row.where
    if not isinstance(value, dict):
        raise RingfenceError(f"{where}: a row must be an object with `prompt` or `messages`, not {kind(value)}.")
    if ("prompt" in value) == ("messages" in value):
        problem = "both `prompt` and `messages`" if "prompt" in value else "neither `prompt` nor `messages`"
        raise RingfenceError(f"{where}: {problem}: give one of the two.")
    require_askable({key: item for key, item in value.items() if key not in KNOWN}, (*ASKED, "prompt_id"), where)
    system = _system(value, where)
    turns = value["messages"] if "messages" in value else [{"role": "user", "content": value["prompt"]}]
    used = [f"`{column}` as the system message" for column in system]
    if isinstance(context := value.get("context"), list) and context:
        if "messages" in value:
            raise RingfenceError(f"{where}: `messages` hold the whole conversation: put the turns of `context` there.")
        turns = [*context, *turns]
        used.append("`context` as turns before the question")
    messages = checked_messages(turns, where)
    if system and (spoken := {"system", "developer"} & {turn["role"] for turn in messages}):
        column = next(iter(system))
        raise RingfenceError(f"{where}: a {min(spoken)} turn, and `{column}` beside it: keep one system message.")
    return (*({"role": "system", "content": text} for text in system.values()), *messages), used


def _system(value: dict[str, Any], where: str) -> dict[str, str]:
    """The column that holds the system message, with its text; empty where there is none, or an empty one."""
    found = {column: value[column] for column in SYSTEM if value.get(column) not in (None, "")}
    context = value.get("context")
    if isinstance(context, str) and context.strip():
        if not _ADDRESSED.match(context):
            raise RingfenceError(
                f"{where}: `context` is a text, and may be a passage or a system message: call it `system`, or put it "
                "into the question."
            )
        found["context"] = context
    elif context is not None and not isinstance(context, list | str):
        raise RingfenceError(f"{where}: `context` must be a list of turns or a text, not {kind(context)}.")
    for column, text in found.items():
        if not isinstance(text, str):
            raise RingfenceError(f"{where}: `{column}` must be a text, not {kind(text)}.")
    if len(found) > 1:
        first, second = list(found)[:2]
        raise RingfenceError(f"{where}: `{first}` and `{second}` both hold a system message: keep one of them.")
    return {column: text for column, text in found.items() if text.strip()}


def _prompt(row: Row, messages: tuple[dict[str, str], ...], default_id: str) -> Prompt:
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
