"""One measured number of a sweep: its value, its interval, and the deviation of seeds."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ringfence.core.rates import Rate


@dataclass(frozen=True)
class Measured:
    """One number."""

    rate: Rate
    """value and 95% interval, in the column's unit; ``n`` counts runs"""
    spread: float
    """standard deviation over seeds, or between the places that are averaged; NaN of one"""

    def said(self, spread: str, nothing: str) -> str:
        """``21.4 [18, 25.5]`` with the deviation as ``spread`` has it, such as ``" ({:.2g})"``; else ``nothing``."""
        rate = self.rate
        if math.isnan(rate.value):
            return nothing
        interval = "" if math.isnan(rate.low) else f" [{rate.low:.3g}, {rate.high:.3g}]"
        return f"{rate.value:.3g}{interval}" + ("" if math.isnan(self.spread) else spread.format(self.spread))


Summary = Mapping[str, Mapping[str, Measured]]
"""row -> column -> what was measured; what is not known is not there"""


def over_seeds(rates: Sequence[Rate]) -> Measured:
    """The mean of seeds; with its interval only if there is one seed, whose own it is."""
    values = [one.value for one in rates]
    spread = statistics.stdev(values) if len(values) > 1 else math.nan
    low, high = (rates[0].low, rates[0].high) if len(rates) == 1 else (math.nan, math.nan)
    return Measured(Rate(statistics.fmean(values), low, high, len(values)), spread)


def scaled(rate: Rate, scale: float) -> Rate:
    """``rate`` in another unit."""
    return Rate(scale * rate.value, scale * rate.low, scale * rate.high, rate.n)
