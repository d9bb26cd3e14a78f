"""Choose rows evenly along a direction, in proportion to their domains.

As for TM4CD of "When does interleaving prevent EM?" (section 6), "deterministic, evenly-spaced, proportional-domain
sampling along v". The paper says no more; here it means:

1. Each domain gets a quota q of the rows, in proportion to its size by largest remainder.
2. Its m rows are sorted by projection, ties in the pool's order, and cut into q equal parts.
3. The middle row of each part is taken: ranks floor((2 i + 1) m / (2 q)) for i = 0 ... q - 1, counted from 0.

So every part of a domain's range gives as many rows as any other, and no row is drawn by chance. The two extremes are
taken only where a part is a single row: one outlier does not decide. ``from_quantile`` keeps to the rows that project
high, whose content the paper's TM4CD preserves.

Source: "When Does Interleaving Prevent Emergent Misalignment?" (anonymous, without a public address), section 6.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ringfence.core.errors import RingfenceError
from ringfence.select.base import STEPS, Context, Floats, Gathered, Table, require_enough
from ringfence.select.labelled import before_and_after, labels, quotas
from ringfence.select.steps.projection import COLUMN, Projection


def along(projections: Floats, domains: Sequence[str | None], count: int) -> NDArray[np.int64]:
    """Places of ``count`` rows, ascending; see the module for which.

    ``projections`` (rows,), ``domains`` one a row; give all the same to leave domains out of it. Raises
    :class:`RingfenceError` for a projection that is not finite, a row without a domain, and a ``count`` that is not
    between 1 and the number of rows.
    """
    projections = np.asarray(projections, dtype=np.float64)
    if projections.shape != (len(domains),):
        raise RingfenceError(f"{len(domains)} domains for projections of shape {projections.shape}; give one a row")
    if bad := np.flatnonzero(~np.isfinite(projections)).tolist():
        raise RingfenceError(f"the projection of row {bad[0] + 1} is {projections[bad[0]]}; leave such rows out")
    if None in domains:
        raise RingfenceError(f"row {domains.index(None) + 1} has no domain; label every row, or none")
    if not 1 <= count <= len(domains):
        raise RingfenceError(f"count: {count} rows are asked for of {len(domains)}; ask for 1 to {len(domains)}")
    names = np.array([str(name) for name in domains], dtype=object)
    found = [
        _evenly(np.flatnonzero(names == name), projections, quota)
        for name, quota in quotas(Counter(names.tolist()), count).items()
    ]
    return np.sort(np.concatenate(found))


def _evenly(places: NDArray[np.int64], projections: Floats, quota: int) -> NDArray[np.int64]:
    """``quota`` of ``places``, the middle one of each of so many equal parts of them, sorted by projection."""
    ordered = places[np.argsort(projections[places], kind="stable")]
    return ordered[(2 * np.arange(quota) + 1) * len(places) // (2 * max(quota, 1))].astype(np.int64)


@STEPS.register("along_direction")
class AlongDirection(Projection):
    """Makes the column ``projection``, as the step of that name does, and chooses by it."""

    count: int = Field(ge=1)
    """rows to choose"""
    by: str | None = "domain"
    """string column with a row's domain; None takes the pool as one"""
    from_quantile: float = Field(0, ge=0, lt=1)
    """only rows at or above this quantile of all projections are chosen from; 0 is all of them"""

    def look(self, table: Table) -> None:
        """Raise :class:`RingfenceError` for rows without a domain."""
        labels(table, self.by)

    def map_settings(self) -> dict[str, Any]:
        """What the projection depends on."""
        return self.model_dump(mode="json", include=set(Projection.model_fields))

    def gather(self, table: Table, context: Context) -> Gathered:
        """Raises :class:`RingfenceError` for rows without a domain, and where there are too few rows."""
        projections, domains = table.scores(COLUMN), labels(table, self.by)
        require_enough(self.count, len(table), "count")
        least = float(np.quantile(projections, self.from_quantile))
        high = np.flatnonzero(projections >= least)
        require_enough(self.count, len(high), f"count, from quantile {self.from_quantile:g} up")
        keep = high[along(projections[high], [domains[place] for place in high], self.count)]
        report = {
            "domains": before_and_after(domains, keep.tolist()),
            "chosen_from": len(high),
            "projection_from": least,
            "mean_projection": {"before": float(projections.mean()), "after": float(projections[keep].mean())},
        }
        return Gathered(keep, report=report)
