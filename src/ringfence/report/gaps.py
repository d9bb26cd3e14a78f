"""A run's rates, and how far one run's rate is from another's: prompt by prompt where both have the same."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ringfence.report.counts import paired
from ringfence.report.results import RunResult


@dataclass(frozen=True)
class Rate:
    """A rate and its 95% interval, as fractions; ``n`` answers in the denominator."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: float = math.nan

    def __sub__(self, other: "Rate") -> "Rate":
        """The difference with its interval by square-and-add (Newcombe 1998), for independent samples:

        ``low = d - sqrt((v1 - l1)^2 + (h2 - v2)^2)``, ``high = d + sqrt((h1 - v1)^2 + (v2 - l2)^2)``.
        """
        difference = self.value - other.value
        below = math.hypot(self.value - self.low, other.high - other.value)
        above = math.hypot(self.high - self.value, other.value - other.low)
        return Rate(difference, difference - below, difference + above)


def rates_of(run: RunResult) -> dict[tuple[str, str], Rate]:
    """(suite, metric) -> the rate of the finished run."""
    rows: Iterable[Any] = run.rates.itertuples(index=False)
    return {(row.suite, row.metric): Rate(row.value, row.low, row.high, row.n) for row in rows}


def gap_between(run: RunResult, other: RunResult, suite: str, metric: str) -> Rate:
    """The rate of ``run`` minus that of ``other``, a fraction; NaN where one of them has none.

    It is :func:`ringfence.core.comparisons.paired_difference` where both were asked the same prompts and have the
    answers, else the difference of the rates by :class:`Rate`.
    """
    found = paired(run.by_prompt.get(suite), other.by_prompt.get(suite), metric)
    if found and found.n:
        return Rate(found.value, found.low, found.high, found.n)
    return rates_of(run).get((suite, metric), Rate()) - rates_of(other).get((suite, metric), Rate())
