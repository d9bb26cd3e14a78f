"""Keep the rows that are highest or lowest by a column: the last step of most selections.

Source: our own; with ``perplexity_gap`` it is Interleaving+ of Kaczer et al. 2025, section 3.2,
https://arxiv.org/abs/2508.06249
"""

from typing import Self

import numpy as np
from pydantic import Field, model_validator

from ringfence.core.errors import RingfenceError
from ringfence.select.base import STEPS, Context, Gathered, Step, Table, require_column, require_enough


@STEPS.register("top")
class Top(Step):
    """Makes the column ``rank``, 1 for the best; of equal scores the first in the pool is better.

    Rows without a score (NaN) have no rank and are never taken.
    """

    by: str = Field(min_length=1)
    """column that a step before has made, e.g. ``perplexity_gap``"""
    count: int | None = Field(None, ge=1)
    """rows to take"""
    share: float | None = Field(None, gt=0, le=1)
    """of the rows that have a score, rounded, at least one row; in place of ``count``"""
    lowest: bool = False
    """whether the best is the lowest"""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.count is None) == (self.share is None):
            raise ValueError("count: give either `count`, in rows, or `share`, of the rows")
        return self

    def gather(self, table: Table, context: Context) -> Gathered:
        """Raises :class:`RingfenceError` for an unknown column, and where too few rows have a score."""
        require_column(self.by, table.columns)
        scores = table.scores(self.by)
        scored = np.flatnonzero(~np.isnan(scores))
        if not len(scored):
            raise RingfenceError(f"by: none of {len(table)} rows has a {self.by}; there is nothing to choose by")
        count = max(1, round((self.share or 0) * len(scored))) if self.count is None else self.count
        require_enough(count, len(scored), "count")
        best = scored[np.argsort(scores[scored] if self.lowest else -scores[scored], kind="stable")]
        rank = np.full(len(scores), np.nan)
        rank[best] = np.arange(1, len(best) + 1)
        taken = scores[best[:count]]
        report = {
            "by": self.by,
            "no_score": len(scores) - len(scored),
            "taken_from": float(taken.min()),
            "taken_to": float(taken.max()),
            "first_left_out": float(scores[best[count]]) if count < len(best) else None,
        }
        return Gathered(np.sort(best[:count]), f"not in the top {count} by {self.by}", {"rank": rank}, report)
