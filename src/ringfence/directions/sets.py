"""Representations of whole data sets, at several layers of a model."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ringfence.core.errors import RingfenceError
from ringfence.data import load_prompts, read
from ringfence.data.conversations import Conversation
from ringfence.data.rows import SUFFIXES
from ringfence.data.system import NoSystem
from ringfence.directions.representations import OnRows, Role, encode, of_rows
from ringfence.models import Loaded

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class DatasetGroup:
    """Conversations of one or more sets, one set after the other."""

    names: tuple[str, ...]
    conversations: tuple[tuple[Conversation, ...], ...]
    """of each set"""

    def __len__(self) -> int:
        return sum(map(len, self.conversations))

    def of(self, values: NDArray[Number]) -> list[NDArray[Number]]:
        """``values``, (rows of all sets, ...), set by set."""
        return np.split(values, np.cumsum([len(rows) for rows in self.conversations])[:-1])

    @property
    def labels(self) -> list[str]:
        """The name of its set for every row."""
        return [name for name, rows in zip(self.names, self.conversations, strict=True) for _ in rows]

    @property
    def rows(self) -> list[Conversation]:
        """All of them."""
        return [row for rows in self.conversations for row in rows]


@dataclass(frozen=True)
class Representations:
    """Where the rows of :class:`DatasetGroup` are."""

    layers: dict[int, NDArray[np.float32]]
    """k -> (rows, hidden)"""
    tokens: NDArray[np.int64]
    """(rows,) how many tokens each mean is over"""


def read_sets(specs: Sequence[str]) -> DatasetGroup:
    """Data sets as :func:`ringfence.data.read` takes them, named by their files' stems or, if those are not distinct,
    as they are given. Raises :class:`RingfenceError` for one that is given twice."""
    if twice := [spec for spec, count in Counter(specs).items() if count > 1]:
        raise RingfenceError(f"{twice[0]}: is given twice; leave one out")
    stems = [Path(spec).stem if spec.endswith(SUFFIXES) else spec for spec in specs]
    names = stems if len(set(stems)) == len(stems) else specs
    return DatasetGroup(tuple(names), tuple(tuple(read(spec)) for spec in specs))


def read_marks(specs: Sequence[str]) -> list[Conversation]:
    """Evaluation prompts as conversations without an answer."""
    return [
        {"messages": list(prompt.messages), "origin": f"{spec}:{prompt.id}"}
        for spec in specs
        for prompt in load_prompts(spec)
    ]


def locate(
    loaded: Loaded,
    conversations: Sequence[Conversation],
    layers: Sequence[int],
    role: Role = "user",
    no_system: NoSystem = "template_default",
    batch_tokens: int = 8192,
    on_rows: OnRows | None = None,
) -> Representations:
    """Raises :class:`RingfenceError` as :mod:`ringfence.directions.representations` does."""
    rows = encode(loaded.tokenizer, conversations, role, no_system)
    found = of_rows(loaded, rows, layers, batch_tokens=batch_tokens, on_rows=on_rows)
    return Representations(found, np.array([row.count for row in rows], dtype=np.int64))
