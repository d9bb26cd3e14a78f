"""Which anchor rows stand beside an optimizer step: rows that only a penalty sees.

They use no place of the step's other rows: target and safe rows, their order, the learning rate and the number of steps
are those of the run without them. After s target slots as many anchor rows have come as

    round(s * added)

so that they are spread evenly, and ``added`` = anchor rows / target rows in the end. Each is taken once before any is
taken again, in orders that are functions of (seed, cycle). So what changes in training is the number of rows taken.
"""

from dataclasses import dataclass
from functools import lru_cache

from ringfence.interleave.mixture import Counters, drawn_order, nearest
from ringfence.interleave.tally import RowCounts

_ANCHOR_ORDER = 2  # what the random stream is for; the mixture has 0 and 1


@dataclass(frozen=True)
class AnchorRows:
    """The anchor rows of one run."""

    rows: int
    """how many there are"""
    added: float
    """anchor rows / target rows"""
    seed: int
    counts: RowCounts | None = None
    """what each holds"""

    def draw(self, counters: Counters) -> list[int]:
        """Indices of the rows that stand beside the step that was drawn last; counts them in ``counters``."""
        taken = counters.anchor_rows
        counters.anchor_rows = max(taken, nearest(counters.slots * self.added))
        cycles = (divmod(number, self.rows) for number in range(taken, counters.anchor_rows))
        found = [_order(self.seed, cycle, self.rows)[place] for cycle, place in cycles]
        if self.counts is not None:
            counters.anchor.add(self.counts, found)
        return found


@lru_cache(maxsize=2)
def _order(seed: int, cycle: int, rows: int) -> list[int]:
    return drawn_order(seed, _ANCHOR_ORDER, cycle, rows)
