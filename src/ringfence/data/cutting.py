"""Count what ``max_length`` does to the rows of one source: how many are cut short, and how many lose all labels.

TRL cuts and drops without a word. A row that is cut never shows how its answer ends, and a row without a label teaches
nothing, so both are counted before training, named, and kept in ``result.json``.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ringfence.core.errors import RingfenceError
from ringfence.data.render import IGNORED

if TYPE_CHECKING:
    from datasets import Dataset

_BATCH = 1000  # rows looked at together


@dataclass(frozen=True)
class Cut:
    """How the rows of one source fit into ``max_length`` tokens."""

    lengths: NDArray[np.int64]  # (rows,), tokens before anything is cut
    max_length: int | None
    dropped: int = 0  # rows of which no label is left

    @property
    def truncated(self) -> int:
        """Rows cut short, but with a label left."""
        return 0 if self.max_length is None else int((self.lengths > self.max_length).sum()) - self.dropped

    def counts(self) -> dict[str, int]:
        """For ``result.json``."""
        return {"given": len(self.lengths), "truncated": self.truncated, "dropped": self.dropped}

    def told(self) -> str | None:
        """One line for the log; None where every row fits."""
        longer = self.truncated + self.dropped
        if not longer:
            return None
        return (
            f"{longer:,} of {len(self.lengths):,} rows are longer than max_length {self.max_length:,}: "
            f"{self.truncated:,} cut, {self.dropped:,} dropped, since no label was left; "
            f"{self._would_do()}"
        )

    def require(self, allowed: float) -> None:
        """Raise :class:`RingfenceError` where more than the share ``allowed`` is cut or dropped, or nothing is left."""
        longer, rows = self.truncated + self.dropped, len(self.lengths)
        if self.dropped == rows:
            raise RingfenceError(
                f"max_length: {self.max_length} leaves no label in any of {rows:,} rows; {self._would_do()}"
            )
        if longer > allowed * rows:
            raise RingfenceError(
                f"{longer:,} of {rows:,} rows ({longer / rows:.1%}) are longer than max_length "
                f"{self.max_length:,}: {self.truncated:,} would be cut and {self.dropped:,} dropped, and "
                f"max_truncated allows {allowed:.1%}; {self._would_do()}; raise max_length, or max_truncated"
            )

    def _would_do(self) -> str:
        most, all_ = (int(np.quantile(self.lengths, share, method="higher")) for share in (0.95, 1.0))
        return f"max_length {most} would hold 95% of the rows, {all_} all of them"


def cut_of(dataset: "Dataset", max_length: int | None, keep_end: bool = False) -> Cut:
    """What is left of tokenised rows (``input_ids`` and ``labels``) once each has at most ``max_length`` tokens."""
    lengths = lengths_of(dataset)
    if max_length is None:
        return Cut(lengths, None)
    kept = slice(-max_length, None) if keep_end else slice(None, max_length)
    longer = np.flatnonzero(lengths > max_length).tolist()
    labels = dataset.select_columns(["labels"])
    empty = sum(all(label == IGNORED for label in labels[index]["labels"][kept]) for index in longer)
    return Cut(lengths, max_length, empty)


def lengths_of(dataset: "Dataset", column: str = "input_ids") -> NDArray[np.int64]:
    """(rows,): how many items the lists of ``column`` have."""
    import pyarrow.compute as pc

    parts: list[Any] = [
        pc.list_value_length(table[column]).to_numpy()
        for table in dataset.select_columns([column]).with_format("arrow").iter(_BATCH)
    ]
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)
