"""Read conversations from files, built-in sets and Hugging Face datasets into one form, checked row by row.

Every conversation is ``{"messages": [{"role", "content"}, ...], "origin": "path:line"}`` plus the other
string columns of its row, such as ``domain``. The origin counts lines in ``.jsonl`` and rows elsewhere; a ``.json``
file is a list of rows, one row, an object around a list of rows, or has a row a line.
A row may be written in any of these ways; the first that fits is taken:

- ``messages``: a list of ``role`` and ``content``, any number of turns;
- ``conversations``: the same, or a list of ``from`` (human, gpt, system) and ``value``;
- ``prompt`` and ``completion``: strings, or two lists of messages that follow each other;
- ``question`` and ``answer``: strings;
- ``instruction``, ``input`` and ``output``: a non-empty input follows the instruction after a blank line.

A non-empty string column ``system`` becomes the system message. An empty system message is kept: it says
"none", where some chat templates would otherwise put a default identity.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np

from ringfence.core.errors import WIDTH, RingfenceError, did_you_mean, shown
from ringfence.core.plain import parse_json
from ringfence.data.rows import raw_rows

Conversation = dict[str, Any]
Message = dict[str, str]
Messages = Sequence[Message]
"""a chat, first turn first"""
T = TypeVar("T")

ROLES = ("system", "user", "assistant")
PAIRS = (("prompt", "completion"), ("question", "answer"), ("instruction", "output"))
VARIANTS = (("messages",), ("conversations",), *PAIRS)
ALONE = ("prompt",)
"""what a row without an answer may be written as"""
ACCEPTED = "messages, conversations, prompt + completion, question + answer, instruction (+ input) + output"
SHAREGPT_ROLES = {"human": "user", "gpt": "assistant"}


class EmptyAnswerError(RingfenceError):
    """An assistant turn without text."""


@dataclass(frozen=True)
class Problem:
    """A row that is no conversation: where it stands, and what is wrong (an empty answer, if so)."""

    origin: str
    message: str
    empty_answer: bool = False

    def __str__(self) -> str:
        return f"{self.origin}: {self.message}"


@dataclass(frozen=True)
class Split(Generic[T]):
    """The two parts of a data set, each in its original order."""

    train: list[T]
    held_out: list[T]


def read(spec: str, answered: bool = True) -> list[Conversation]:
    """All conversations of ``spec``: a ``.jsonl``, ``.json`` or ``.parquet`` file, ``builtin:NAME``, ``task:NAME?...``
    or a Hugging Face dataset ``org/name[@config][:split]`` (split ``train`` by default, of a task, too).

    Without ``answered`` rows need no answer: a conversation may end with the user, and a ``prompt`` may stand alone.
    Raises :class:`RingfenceError`, naming file and line, at the first bad row, and if there are no rows.
    """
    conversations = []
    for found in scan(spec, answered=answered):
        if isinstance(found, Problem):
            raise RingfenceError(str(found))
        conversations.append(found)
    if not conversations:
        raise RingfenceError(f"{spec}: there are no conversations in it; give a data set with at least one row")
    return conversations


def scan(
    spec: str, on_repeat: Callable[[str, str], None] | None = None, answered: bool = True
) -> Iterator[Conversation | Problem]:
    """Row by row what :func:`read` reads, without stopping at a bad one.

    ``on_repeat`` is told the origin of a row and a key that stands twice in it, of which JSON takes the last.
    Raises :class:`RingfenceError` where there are no rows to look at: no such file, not readable, not cached.
    """
    for origin, row in raw_rows(spec, VARIANTS if answered else (*VARIANTS, ALONE), on_repeat):
        try:
            value = parse_json(row, on_repeat and partial(on_repeat, origin)) if isinstance(row, bytes) else row
            found: Conversation | Problem = conversation(value, origin, answered)
        except RingfenceError as error:
            found = Problem(origin, str(error), isinstance(error, EmptyAnswerError))
        yield found


def split(rows: Sequence[T], held_out: float = 0.1, seed: int = 0) -> Split[T]:
    """A seeded split that keeps the order of ``rows``; ``held_out`` is the share held out, in [0, 1).

    The count is rounded, but of two rows or more neither part gets none if ``held_out`` > 0; a single row is
    for training. Raises :class:`RingfenceError` if ``held_out`` is outside [0, 1).
    """
    if not 0 <= held_out < 1:
        raise RingfenceError(f"held_out is {held_out}, but must be a share of at least 0 and below 1")
    size = min(max(round(len(rows) * held_out), held_out > 0), max(len(rows) - 1, 0))
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(rows))
    chosen = set(order[:size].tolist())
    return Split(
        train=[row for index, row in enumerate(rows) if index not in chosen],
        held_out=[row for index, row in enumerate(rows) if index in chosen],
    )


def conversation(row: Any, origin: str, answered: bool = True) -> Conversation:
    """``row``, in any accepted variant, as a checked conversation, which has an answer if it is to be ``answered``.

    Raises :class:`RingfenceError` that says what is wrong, without the origin.
    """
    if not isinstance(row, dict):
        raise RingfenceError(f"a row must be a JSON object, this one is of type {type(row).__name__}")
    present = {column for column in row if row[column] is not None}  # tables have nulls where JSON has no key
    variants = VARIANTS if answered else (*VARIANTS, ALONE)
    fits = [columns for keys in (present, set(row)) for columns in variants if keys.issuperset(columns)]
    if not fits:
        found = ", ".join(sorted(present)) or "none"
        found = found if len(found) <= WIDTH else f"{found[:WIDTH]}..."
        raise RingfenceError(f"found the columns {found}, which are no conversation; accepted are {ACCEPTED}")
    used = fits[0]
    messages = _messages(row, used)
    _check(messages, answered)
    taken = {*used, "system", *(["input"] if used[0] == "instruction" else [])}
    kept = {column: value for column, value in row.items() if isinstance(value, str) and column not in taken}
    return kept | {"messages": messages, "origin": origin}


def _messages(row: dict[str, Any], used: tuple[str, ...]) -> list[Message]:
    """The messages of a row that is written in the variant ``used``; roles are not yet checked."""
    if used == ALONE:
        messages = _side(row["prompt"], "prompt", "user")
    elif len(used) == 1:
        messages = _turns(row[used[0]], used[0])
    else:
        question = _instruction(row) if used[0] == "instruction" else row[used[0]]
        messages = _side(question, used[0], "user") + _side(row[used[1]], used[1], "assistant")
    system = row.get("system")
    first = [_message("system", system)] if isinstance(system, str) and system.strip() else []
    return first + messages


def _side(value: Any, column: str, role: str) -> list[Message]:
    """One side of a pair of columns: text of one ``role``; a prompt or completion may also be messages."""
    if isinstance(value, list) and column in ("prompt", "completion"):
        return _turns(value, column)
    return [_message(role, value)]


def _instruction(row: dict[str, Any]) -> Any:
    """Instruction and, if there is one, input, with a blank line between them."""
    instruction, extra = row["instruction"], row.get("input") or ""
    if not isinstance(extra, str):
        raise RingfenceError(f"input must be a string, it is of type {type(extra).__name__}")
    return f"{instruction}\n\n{extra}" if isinstance(instruction, str) and extra.strip() else instruction


def _turns(value: Any, column: str) -> list[Message]:
    """A list of ``{"role", "content"}`` or, as ShareGPT has it, ``{"from", "value"}``."""
    if not isinstance(value, list):
        raise RingfenceError(f"{column} must be a list of messages, it is of type {type(value).__name__}")
    messages = []
    for number, turn in enumerate(value, 1):
        if isinstance(turn, dict) and {"role", "content"} <= turn.keys():
            messages.append(_message(turn["role"], turn["content"]))
        elif isinstance(turn, dict) and {"from", "value"} <= turn.keys():
            messages.append(_message(SHAREGPT_ROLES.get(str(turn["from"]), turn["from"]), turn["value"]))
        else:
            raise RingfenceError(f"message {number} in {column} needs role and content")
        for key in ("tool_calls", "weight"):  # both change what is trained on: to ignore them would be silent
            if turn.get(key) not in (None, [], 1):
                raise RingfenceError(f"message {number} in {column} has {key}, not supported: remove it")
    return messages


def _message(role: Any, content: Any) -> Message:
    return {"role": role, "content": content}


def _check(messages: list[Message], answered: bool) -> None:
    """Raise :class:`RingfenceError` unless ``messages`` can be trained on."""
    for number, message in enumerate(messages, 1):
        role, content = message["role"], message["content"]
        if role not in ROLES:
            hint = did_you_mean(role, ROLES) if isinstance(role, str) else f" Known: {', '.join(ROLES)}."
            raise RingfenceError(f"message {number} has the unknown role {shown(role)}.{hint}")
        # A table has null or NaN where there is no answer.
        if role == "assistant" and (content is None or (isinstance(content, float) and math.isnan(content))):
            raise EmptyAnswerError(f"message {number} (assistant) is missing: give it text or remove the row")
        if not isinstance(content, str):
            kind = type(content).__name__
            raise RingfenceError(f"message {number} ({role}) needs a string as content, it is of type {kind}")
        if role != "system" and not content.strip():
            error = EmptyAnswerError if role == "assistant" else RingfenceError
            raise error(f"message {number} ({role}) is empty: give it text or remove the row")
        if any("\ud800" <= character <= "\udfff" for character in content):
            raise RingfenceError(f"message {number} ({role}) has half a surrogate pair: mend the cut emoji")
    roles = [message["role"] for message in messages]
    if roles.count("system") > 1:
        raise RingfenceError("there are two system messages: join them into one")
    if not answered and "user" not in roles:
        raise RingfenceError("there is no user turn, so nothing is asked: add one or remove the row")
    if answered and "assistant" not in roles:
        raise RingfenceError("there is no assistant turn, so nothing to train on: add one or remove the row")
