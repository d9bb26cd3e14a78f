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
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from ringfence.core.errors import WIDTH, RingfenceError, did_you_mean, shown
from ringfence.core.hub import offline_if_unreachable
from ringfence.core.plain import JsonError, OnRepeat, parse_json, refuse_pointer_at
from ringfence.data.json_files import MARK, is_lines, rows_in
from ringfence.data.task import is_task, parse_spec

Conversation = dict[str, Any]
Message = dict[str, str]
Messages = Sequence[Message]
"""a chat, first turn first"""
T = TypeVar("T")

ROLES = ("system", "user", "assistant")
PAIRS = (("prompt", "completion"), ("question", "answer"), ("instruction", "output"))
VARIANTS = (("messages",), ("conversations",), *PAIRS)
ACCEPTED = "messages, conversations, prompt + completion, question + answer, instruction (+ input) + output"
SHAREGPT_ROLES = {"human": "user", "gpt": "assistant"}
SUFFIXES = (".jsonl", ".json", ".parquet")
# org/name, then an optional @config and an optional :split (which may be a slice such as train[:100])
HUB_ID = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(@(?P<config>[^:@]+))?(:(?P<split>.+))?")


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


def read(spec: str) -> list[Conversation]:
    """All conversations of ``spec``: a ``.jsonl``, ``.json`` or ``.parquet`` file, ``builtin:NAME``, ``task:NAME?...``
    or a Hugging Face dataset ``org/name[@config][:split]`` (split ``train`` by default, of a task, too).

    Raises :class:`RingfenceError`, naming file and line, at the first bad row, and if there are no rows.
    """
    conversations = []
    for found in scan(spec):
        if isinstance(found, Problem):
            raise RingfenceError(str(found))
        conversations.append(found)
    if not conversations:
        raise RingfenceError(f"{spec}: there are no conversations in it; give a data set with at least one row")
    return conversations


def scan(spec: str, on_repeat: Callable[[str, str], None] | None = None) -> Iterator[Conversation | Problem]:
    """Row by row what :func:`read` reads, without stopping at a bad one.

    ``on_repeat`` is told the origin of a row and a key that stands twice in it, of which JSON takes the last.
    Raises :class:`RingfenceError` where there are no rows to look at: no such file, not readable, not cached.
    """
    for origin, row in _rows(spec, on_repeat):
        try:
            value = parse_json(row, on_repeat and partial(on_repeat, origin)) if isinstance(row, bytes) else row
            found: Conversation | Problem = conversation(value, origin)
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


def conversation(row: Any, origin: str) -> Conversation:
    """``row``, in any accepted variant, as a checked conversation.

    Raises :class:`RingfenceError` that says what is wrong, without the origin.
    """
    if not isinstance(row, dict):
        raise RingfenceError(f"a row must be a JSON object, this one is of type {type(row).__name__}")
    present = {column for column in row if row[column] is not None}  # tables have nulls where JSON has no key
    fits = [columns for keys in (present, set(row)) for columns in VARIANTS if keys.issuperset(columns)]
    if not fits:
        found = ", ".join(sorted(present)) or "none"
        found = found if len(found) <= WIDTH else f"{found[:WIDTH]}..."
        raise RingfenceError(f"found the columns {found}, which are no conversation; accepted are {ACCEPTED}")
    used = fits[0]
    messages = _messages(row, used)
    _check(messages)
    taken = {*used, "system", *(["input"] if used[0] == "instruction" else [])}
    kept = {column: value for column, value in row.items() if isinstance(value, str) and column not in taken}
    return kept | {"messages": messages, "origin": origin}


def _messages(row: dict[str, Any], used: tuple[str, ...]) -> list[Message]:
    """The messages of a row that is written in the variant ``used``; roles are not yet checked."""
    if len(used) == 1:
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


def _check(messages: list[Message]) -> None:
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
    if "assistant" not in roles:
        raise RingfenceError("there is no assistant turn, so nothing to train on: add one or remove the row")


def _rows(spec: str, on_repeat: Callable[[str, str], None] | None) -> Iterator[tuple[str, Any]]:
    """Pairs of origin and row (bytes of JSON, or an object) of any kind of ``spec``."""
    path = Path(spec)
    if spec.startswith("builtin:"):
        from ringfence.data import proxy  # a built-in set is made on demand

        yield from _numbered(spec, proxy.conversations(spec.removeprefix("builtin:")))
    elif is_task(spec):
        yield from _numbered(spec, parse_spec(spec).rows("train"))
    elif path.suffix in SUFFIXES or path.exists():
        yield from _file_rows(path, on_repeat)
    elif hub := HUB_ID.fullmatch(spec):
        yield from _numbered(spec, _hub_rows(hub))
    else:
        raise RingfenceError(
            f"{spec}: no such file; give a {', '.join(SUFFIXES)} file, builtin:NAME, task:NAME, or a hub id org/name"
        )


def _numbered(name: str | Path, rows: Any) -> Iterator[tuple[str, Any]]:
    return ((f"{name}:{number}", row) for number, row in enumerate(rows, 1))


def _file_rows(path: Path, on_repeat: Callable[[str, str], None] | None) -> Iterator[tuple[str, Any]]:
    """The rows of a local file by its suffix. Raises :class:`RingfenceError` if it cannot be read."""
    if path.is_dir() or path.suffix not in SUFFIXES:
        raise RingfenceError(f"{path}: not a data file; give one that ends in {', '.join(SUFFIXES)}")
    try:
        refuse_pointer_at(path)
        if path.suffix == ".parquet":
            yield from _numbered(path, _parquet_rows(path))
            return
        with path.open("rb") as handle:
            if path.suffix == ".jsonl" or is_lines(handle):
                handle.seek(0)  # line by line, so that a file may be larger than memory
                lines = (line.removeprefix(MARK) if number == 0 else line for number, line in enumerate(handle))
                rows = (line.removesuffix(b"\n") for line in lines)
                yield from (pair for pair in _numbered(path, rows) if pair[1].strip())
                return
        data = path.read_bytes().removeprefix(MARK)
    except FileNotFoundError as error:
        raise RingfenceError(f"{path}: no such file; check the path") from error
    except OSError as error:
        raise RingfenceError(f"{path}: cannot be read ({error.strerror or error}); check the file") from error
    yield from _numbered(path, _json_rows(path, data, on_repeat and partial(on_repeat, str(path))))


def _json_rows(path: Path, data: bytes, on_repeat: OnRepeat | None) -> list[Any]:
    """The rows of a whole file that is one JSON value: a list, one row, or an object around a list of rows."""
    try:
        value = parse_json(data, on_repeat)
    except JsonError as error:
        raise RingfenceError(f"{path}:{error.line}: {error}") from error
    rows = rows_in(value, lambda one: any(one.keys() >= set(columns) for columns in VARIANTS))
    if rows is None:
        raise RingfenceError(
            f"{path}: one JSON value without rows; give a list of them, or one row; accepted are {ACCEPTED}"
        )
    return rows


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise RingfenceError(f"{path}: not a readable parquet file ({reason}); check the file") from error


def _hub_rows(hub: re.Match[str]) -> Any:
    """A Hugging Face dataset, from the local cache where there is no network."""
    import datasets

    offline_if_unreachable()
    name, config, part = hub["name"], hub["config"], hub["split"] or "train"
    try:
        return datasets.load_dataset(name, config, split=part)
    except Exception as error:  # the hub's client raises errors of many unrelated types
        reason = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0].rstrip(": ")
        arguments = ", ".join(repr(argument) for argument in (name, config) if argument)
        raise RingfenceError(
            f"{hub[0]}: no such file, and as a Hugging Face dataset it cannot be loaded ({reason}); fetch it "
            f'where there is a network by: python -c "import datasets; datasets.load_dataset({arguments})", '
            "or give a file"
        ) from error
