"""Benign tasks: rows to train on, questions to ask, and an exact score, all by one name.

``task:opswap?tier=2`` names a task with its settings, wherever a recipe or a command takes a data set or a suite. As a
data set it gives the rows to train on, as a suite the questions of the test rows. What comes after the ``?`` is
``key=value``, joined by ``&``, each value as YAML has it, and a text as it stands:

- the task's own settings, such as ``tier``;
- ``split``: ``train`` or ``test``; without it, the one that its place asks for;
- ``n``: how many rows; without it, all that there are, or the task's own number;
- ``seed``: which rows are drawn, where they are drawn (0).

The tasks themselves are in :mod:`ringfence.tasks`, one file each.
"""

import hashlib
import json
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, get_args

from pydantic import ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from ringfence.core.errors import RingfenceError, did_you_mean, error_prefix, shown
from ringfence.core.files import write_text
from ringfence.core.registry import Registry
from ringfence.core.settings import StrictConfig, explain, override
from ringfence.data.suites.prompts import Prompt

PREFIX = "task:"
M = TypeVar("M", bound=StrictConfig)
BESIDE = ("drawing", "expressions", "faroese", "form", "sources", "stories")
"""modules of :mod:`ringfence.tasks` that are no task"""
Split = Literal["train", "test"]
Row = dict[str, Any]
"""a conversation with an ``answer``; see :meth:`Task.rows`"""


class Task(StrictConfig):
    """Base of all tasks; its fields are the task's settings, and unknown ones raise."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    metric: ClassVar[str] = "exact match"
    """what :meth:`score` measures, as tables call it"""

    @abstractmethod
    def rows(self, split: Split, n: int | None, seed: int) -> list[Row]:
        """``n`` rows of a split; None: all that there are, or the task's own number.

        Each is ``{"messages": [..., user, assistant], "answer": text}`` and may have more columns of text. The last
        message is a reference completion, whose score is 1. No row of one split is in the other, whatever the seeds.
        Raises :class:`RingfenceError` if there are fewer than ``n``, and says how many.
        """

    @abstractmethod
    def score(self, response: str, answer: str) -> float:
        """How right ``response`` is by the row's ``answer``, in [0, 1]."""

    def further(self, response: str, answer: str) -> dict[str, float]:
        """More metrics of the same answer, each in [0, 1], by name; the same names for every answer."""
        return {}


TASKS = Registry("task", Task, "opswap: {tier: 2}", package="ringfence.tasks", beside=BESIDE)  # type: ignore[type-abstract]


class _Which(StrictConfig):
    """Which rows of a task."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: Split | None = None
    n: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0)


@dataclass(frozen=True)
class TaskSpec:
    """What ``task:NAME?key=value&...`` stands for."""

    task: Task
    split: Split | None
    n: int | None
    seed: int
    text: str
    """as it was written"""

    @property
    def name(self) -> str:
        """That of the task."""
        return TASKS.name_of(type(self.task))

    def rows(self, default: Split) -> list[Row]:
        """The rows of its split, or else of ``default``, each with its ``origin``, which ends in a number from 1.

        Raises :class:`RingfenceError` for a row without an answer, and as :meth:`Task.rows` does.
        """
        with error_prefix(self.text):
            rows = self.task.rows(self.split or default, self.n, self.seed)
            if not rows:
                raise RingfenceError(f"there are no rows of the split {self.split or default}; give some")
            for number, row in enumerate(rows, 1):
                if not isinstance(row.get("answer"), str) or not row["answer"].strip():
                    raise RingfenceError(f"row {number} has no answer, a text; give it one or remove the row")
        return [{**row, "origin": f"{self.text}:{number}"} for number, row in enumerate(rows, 1)]

    def prompts(self, default: Split) -> list[Prompt]:
        """What the rows ask, in their order, with ids ``NAME-1`` and so on; ``good`` is the reference completion."""
        return as_prompts(self.name, self.rows(default))

    def digest(self, default: Split) -> str:
        """Hex SHA-256 of the rows: of what is asked, of the reference completions and of the answers."""
        return rows_digest(self.rows(default))

    def key(self, default: Split) -> str:
        """What a digest of its rows is kept under: as it was written, with the split."""
        if self.split is not None:
            return self.text
        return f"{self.text}{'&' if '?' in self.text else '?'}split={default}"


def is_task(spec: str) -> bool:
    """Whether ``spec`` names a task."""
    return spec.startswith(PREFIX)


def parse_spec(text: str) -> TaskSpec:
    """What ``text``, ``task:NAME?key=value&...``, stands for; nothing is made or read yet.

    Raises :class:`RingfenceError` for an unknown task, an unknown key, a key that stands twice, and a value out of
    range.
    """
    if not is_task(text):
        raise RingfenceError(f"{shown(text)}: a task is written {PREFIX}NAME?key=value, e.g. {PREFIX}opswap?tier=2")
    name, _, query = text.removeprefix(PREFIX).partition("?")
    with error_prefix(text):
        cls = TASKS.get(name)
        fields = {**_Which.model_fields, **cls.model_fields}
        values = {key: _value(key, given, fields) for key, given in _given(query).items()}
        task = checked(cls, {key: value for key, value in values.items() if key in cls.model_fields})
        which = checked(_Which, {key: value for key, value in values.items() if key in _Which.model_fields})
    return TaskSpec(task, which.split, which.n, which.seed, text)


def write_rows(folder: Path, splits: Mapping[Split, Sequence[Mapping[str, Any]]]) -> list[Path]:
    """Write ``train.jsonl`` and ``test.jsonl``, or the one that is given, a row a line, into ``folder``.

    Raises :class:`RingfenceError`, before anything is written, if a file is there with another content.
    """
    texts = {
        folder / f"{split}.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        for split, rows in splits.items()
    }
    for path, text in texts.items():
        if path.exists() and path.read_bytes() != text.encode():
            raise RingfenceError(f"{path}: is there with another content; move it, or choose another folder")
    for path, text in texts.items():
        write_text(path, text)
    return [*texts]


def as_prompts(name: str, rows: Sequence[Row]) -> list[Prompt]:
    """See :meth:`TaskSpec.prompts`."""
    return [
        Prompt(f"{name}-{number}", tuple(row["messages"][:-1]), good=row["messages"][-1]["content"])
        for number, row in enumerate(rows, 1)
    ]


def rows_digest(rows: Sequence[Row]) -> str:
    """See :meth:`TaskSpec.digest`."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps([row["messages"], row["answer"]], ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def checked(cls: type[M], values: dict[str, Any]) -> M:
    """``values`` as settings of ``cls``; :class:`RingfenceError` names the key that is wrong."""
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        raise RingfenceError(explain(error, cls)) from None


def _given(query: str) -> dict[str, str]:
    """Key -> text."""
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    keys = [key for key, _, _ in pairs]
    if twice := [key for place, key in enumerate(keys) if key in keys[:place]]:
        raise RingfenceError(f"the key {shown(twice[0])} stands twice; leave one out")
    if bare := [key for key, equals, _ in pairs if not equals or not key]:
        raise RingfenceError(f"{shown(bare[0])}: a setting is key=value, e.g. tier=2")
    return {key: text for key, _, text in pairs}


def _value(key: str, text: str, fields: Mapping[str, FieldInfo]) -> Any:
    """A text as it stands, where the setting is one, since paths and signs are not always YAML; else YAML."""
    if key not in fields:
        raise RingfenceError(f"unknown key {shown(key)}.{did_you_mean(key, fields)}")
    kind = fields[key].annotation
    if str not in (kind, *get_args(kind)):
        return override({}, [f"{key}={text}"])[key]
    return None if text == "null" else re.sub(r"^(['\"])(.*)\1$", r"\2", text)
