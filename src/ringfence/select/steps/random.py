"""Random rows, in proportion to their domains: the baseline that a selection has to beat.

Source: Kaczer et al. 2025, section 3.1 (Interleaving), https://arxiv.org/abs/2508.06249
"""

from collections import Counter

import numpy as np
from pydantic import Field

from ringfence.select.base import STEPS, Context, Gathered, Step, Table, require_enough
from ringfence.select.labelled import before_and_after, labels, quotas


@STEPS.register("random")
class Random(Step):
    """Drawn without replacement by the selection's seed. With the same seed more rows include the fewer, but for the
    rounding of domains' shares.

    A domain gets its share by largest remainder, and at least one row, unless fewer rows are asked for than there are
    domains.
    """

    count: int = Field(ge=1)
    """rows to draw"""
    by: str | None = "domain"
    """string column with a row's domain; None draws from the pool as a whole"""

    def gather(self, table: Table, context: Context) -> Gathered:
        """Raises :class:`RingfenceError` for rows without a domain, and where there are too few rows."""
        domains = labels(table, self.by)
        require_enough(self.count, len(domains), "count")
        left = quotas(Counter(domains), self.count, at_least_one=True)
        keep = []
        for place in np.random.Generator(np.random.Philox(context.seed)).permutation(len(domains)).tolist():
            if left.get(domains[place], 0):
                left[domains[place]] -= 1
                keep.append(place)
        report = {"domains": before_and_after(domains, keep)}
        return Gathered(np.sort(np.array(keep, dtype=np.int64)), "not drawn", report=report)
