"""Count what was trained on: conversations, tokens, and the tokens that carry the loss, of each source.

A row is a conversation, unless TRL has packed several into one; then its ``seq_lengths`` are those of the
conversations. The first token of a conversation is predicted by nothing, so a label there carries no loss and is not
counted.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from datasets import Dataset

_IGNORED = -100  # the label of a token that carries no loss
_BATCH = 1000  # rows looked at together


@dataclass
class Tally:
    """Sums over the rows that were drawn, all ranks together."""

    conversations: int = 0
    tokens: int = 0
    labels: int = 0
    """tokens that carry the loss"""

    def add(self, counts: "RowCounts", rows: list[int]) -> None:
        """Count ``rows``, indices into the dataset of ``counts``; one that comes twice counts twice."""
        conversations, tokens, labels = counts.table[:, rows].sum(axis=1).tolist()
        self.conversations += conversations
        self.tokens += tokens
        self.labels += labels


@dataclass(frozen=True)
class RowCounts:
    """What each row of a tokenised dataset holds."""

    table: NDArray[np.int64]  # (3, rows): conversations, tokens, labels

    @classmethod
    def of(cls, dataset: "Dataset") -> "RowCounts | None":
        """None where the rows are not tokenised yet, as images are not."""
        if not {"input_ids", "labels"} <= set(dataset.column_names):
            return None
        packed = "seq_lengths" in dataset.column_names
        columns = ["input_ids", "labels", *(["seq_lengths"] if packed else [])]
        batches = dataset.select_columns(columns).with_format("arrow").iter(_BATCH)
        parts = [_counted(batch, packed) for batch in batches]
        return cls(np.concatenate(parts, axis=1) if parts else np.zeros((3, 0), np.int64))


def _counted(batch: Any, packed: bool) -> NDArray[np.int64]:
    """(3, rows)"""
    tokens = _lengths(batch["input_ids"])
    row_starts = np.concatenate([[0], np.cumsum(tokens)])
    lengths = _lengths(batch["seq_lengths"]) if packed else np.ones_like(tokens)
    each = _values(batch["seq_lengths"]) if packed else tokens
    starts = np.concatenate([[0], np.cumsum(each)])[:-1][each > 0]
    carries = _values(batch["labels"]) != _IGNORED
    carries[starts] = False
    sums = np.concatenate([[0], np.cumsum(carries)])
    return np.stack([lengths, tokens, sums[row_starts[1:]] - sums[row_starts[:-1]]]).astype(np.int64)


def _lengths(column: Any) -> NDArray[np.int64]:
    import pyarrow.compute as pc

    return pc.list_value_length(column).to_numpy().astype(np.int64)


def _values(column: Any) -> NDArray[np.int64]:
    """All lists of a column, one after the other."""
    import pyarrow.compute as pc

    return pc.list_flatten(column).to_numpy().copy()
