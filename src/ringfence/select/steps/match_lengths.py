"""Rows whose lengths follow those of another set, for variants that are to differ in anything but length.

With the other set's quantile function Q, evenly spaced targets t_j = Q((j + 1/2) / m), j = 0 .. m - 1, and the
candidates' lengths c_i, the m chosen rows minimise

    sum over j of |c_i(j) - t_j|, no row taken twice.

The minimum is exact. In one dimension the best assignment keeps the order, so that it is found column by column: with
rows and targets sorted, the cost of the first j targets with the first i rows is the lower of leaving row i out and
giving it to target j. Among rows of the same length the seed decides.

Source: our own, for properties P2 and P3 of "When Does Interleaving Prevent Emergent Misalignment?" (anonymous, without
a public address).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ringfence.data.conversations import read
from ringfence.select.base import STEPS, Context, Floats, Gathered, Mapper, Step, Table, require_enough
from ringfence.select.steps.lengths import Counting, Side, column_of, token_count, tokenizer_of


@STEPS.register("match_lengths")
class MatchLengths(Step):
    """Which set to match, on which side; makes the columns ``user_tokens`` and ``assistant_tokens``."""

    to: str = Field(min_length=1)
    """the other set: a file, ``builtin:NAME``, ``task:NAME?...`` or a hub id"""
    side: Side = "assistant"
    """whose tokens are matched: ``user`` or ``assistant``"""
    count: int | None = Field(None, ge=1)
    """rows to choose; null is as many as the other set has, or all if there are not so many"""

    def check(self) -> None:
        """The other set can be read."""
        read(self.to)

    def inputs(self) -> Sequence[str]:
        """The other set."""
        return [self.to]

    def map_inputs(self) -> Sequence[str]:
        """None: it is for the choice alone."""
        return ()

    def map_settings(self) -> dict[str, Any]:
        """None: the counts depend on the tokenizer alone."""
        return {}

    def map(self, context: Context) -> Mapper:
        """The counting."""
        return Counting(tokenizer_of(context), context.no_system)

    def gather(self, table: Table, context: Context) -> Gathered:
        """The choice. Raises :class:`RingfenceError` if there are fewer rows than asked for."""
        lengths, reference = table.scores(column_of(self.side)), self._reference(context)
        count = min(len(reference), len(lengths)) if self.count is None else self.count
        require_enough(count, len(lengths), "count")
        keep = nearest(lengths, quantiles(reference, count), context.seed)
        return Gathered(keep, "not needed for the length distribution", report=self._report(lengths, keep, reference))

    def _reference(self, context: Context) -> Floats:
        """Token counts of the other set."""
        tokenizer = tokenizer_of(context)
        counts = (token_count(row, tokenizer, self.side, context.no_system) for row in read(self.to))
        return np.fromiter(counts, dtype=np.float64)

    def _report(self, lengths: Floats, keep: NDArray[np.int64], reference: Floats) -> dict[str, Any]:
        from scipy.stats import ks_2samp

        chosen = lengths[keep]
        return {
            "side": self.side,
            "rows_of_reference": len(reference),
            "ks_before": float(ks_2samp(lengths, reference).statistic),
            "ks_after": float(ks_2samp(chosen, reference).statistic),
            "mean_before": float(lengths.mean()),
            "mean_after": float(chosen.mean()),
            "mean_reference": float(reference.mean()),
        }


def quantiles(reference: Floats, count: int) -> Floats:
    """``count`` evenly spaced quantiles, ascending; for a ``count`` of all, the sorted values themselves."""
    return np.quantile(reference, (np.arange(count) + 0.5) / count, method="hazen")


def nearest(lengths: Floats, targets: Floats, seed: int) -> NDArray[np.int64]:
    """Ascending places of the rows of ``lengths`` that go to the ascending ``targets``; see the module.

    Takes time of the order of rows times targets, and an eighth of as many bytes. There are at least as many rows as
    targets.
    """
    shuffled = np.random.Generator(np.random.Philox(seed)).permutation(len(lengths))
    order = shuffled[np.argsort(lengths[shuffled], kind="stable")]
    ordered = lengths[order]
    cost = np.zeros(len(ordered) + 1)  # of the targets so far with the first i rows
    lowered = []  # per target, as bits: giving it row i is cheaper than any row before
    for target in targets:
        taken = cost[:-1] + np.abs(ordered - target)
        cost = np.concatenate([[np.inf], np.minimum.accumulate(taken)])
        lowered.append(np.packbits(cost[1:] < cost[:-1]))
    chosen, end = [], len(ordered)
    for bits in reversed(lowered):
        end = int(np.flatnonzero(np.unpackbits(bits, count=len(ordered))[:end])[-1])
        chosen.append(order[end])
    return np.sort(np.asarray(chosen, dtype=np.int64))
