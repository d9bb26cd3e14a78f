"""A rate with its interval: the one form in which it goes from computation through files to tables and pages."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

Where = tuple[str, str]
"""suite and metric"""


@dataclass(frozen=True)
class Rate:
    """A fraction of ``n`` answers and its 95% interval, or a difference of two; NaN where the data give none."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: float = math.nan

    @classmethod
    def of(cls, found: Any) -> "Rate":
        """That of anything that has ``value, low, high, n``: a row of a table, a difference."""
        return cls(found.value, found.low, found.high, found.n)

    def __sub__(self, other: "Rate") -> "Rate":
        """The difference with its interval by square-and-add (Newcombe 1998), for independent samples:

        ``low = d - sqrt((v1 - l1)^2 + (h2 - v2)^2)``, ``high = d + sqrt((h1 - v1)^2 + (v2 - l2)^2)``.
        """
        difference = self.value - other.value
        below = math.hypot(self.value - self.low, other.high - other.value)
        above = math.hypot(self.high - self.value, other.value - other.low)
        return Rate(difference, difference - below, difference + above)


Rates = Mapping[Where, Rate]


def as_rows(rates: Rates) -> list[dict[str, Any]]:
    """For a file, one row a rate: ``suite, metric, value, low, high, n``."""
    return [{"suite": suite, "metric": metric, **asdict(rate)} for (suite, metric), rate in rates.items()]


def from_rows(rows: Iterable[Any]) -> dict[Where, Rate]:
    """From rows with these columns as attributes."""
    return {(str(row.suite), str(row.metric)): Rate.of(row) for row in rows}
