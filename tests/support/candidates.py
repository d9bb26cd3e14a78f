"""Candidates, a table of them in memory, and a context with the tiny model: what tests of a selection's steps need."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import tiny
from ringfence.models import Loaded
from ringfence.select.base import Candidate, Context, require_column


def candidate(index: int, answer: str = "Yes.", question: str = "Is it?", **columns: Any) -> Candidate:
    """One exchange; ``columns`` that are numbers become scores, arrays vectors, and strings the row's own columns."""
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    texts = {name: value for name, value in columns.items() if isinstance(value, str)}
    return Candidate(
        index,
        {**texts, "messages": messages, "origin": f"pool.jsonl:{index + 1}"},
        {name: float(value) for name, value in columns.items() if isinstance(value, int | float)},
        {name: value for name, value in columns.items() if isinstance(value, np.ndarray)},
    )


@dataclass(frozen=True)
class Table:
    """:class:`ringfence.select.base.Table` of rows in memory; vectors come ``part`` rows at a time."""

    rows: Sequence[Candidate]
    part: int = 3

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(name for row in self.rows for name in row.scores))

    def scores(self, name: str) -> np.ndarray:
        require_column(name, self.columns)
        return np.array([row.scores.get(name, np.nan) for row in self.rows])

    def text(self, name: str) -> list[str | None]:
        return [row.conversation.get(name) for row in self.rows]

    def vectors(self, name: str) -> Iterator[np.ndarray]:
        for start in range(0, len(self.rows), self.part):
            yield np.stack([row.vectors[name] for row in self.rows[start : start + self.part]])

    def candidates(self) -> Iterator[Candidate]:
        return iter(self.rows)


def context(**settings: Any) -> Context:
    """With a random tiny model in place of one from disk."""
    made = Context(model="tiny", **settings)
    vars(made)["loaded"] = Loaded(tiny.model().eval(), tiny.tokenizer(), "tiny")
    return made


def nobody(count: int) -> None:
    """An ``on_rows`` that does not listen."""
