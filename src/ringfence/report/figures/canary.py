"""Do canaries tell the leak? Their risk against the rate of a suite at the same steps, and how the two correlate.

A point is an evaluation during training: its rate, and the smoothed risk of the last look at the canaries up to that
step. Pearson's r is over all points. Points of one run are not independent, so its 95% interval is a percentile
bootstrap over whole runs, and from fewer than :data:`LEAST` runs there is none.

Source: the canary paper, figure 2 and section 4.4, which compare risk and general misalignment so.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr

from ringfence.core.errors import RingfenceError
from ringfence.core.rates import Rate
from ringfence.report.figures.asked import Asked, suite_of_leak
from ringfence.report.figures.style import COLUMN, Look, legend_below, new_figure, percent_axis
from ringfence.report.results import RunResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST = 5
"""runs"""
RESAMPLES = 2000


def canary(runs: Sequence[RunResult], asked: Asked) -> "Figure":
    """One point an evaluation of a run with canaries."""
    suite = suite_of_leak(runs, asked)
    pairs = {run.name: matched(run, suite, asked.metric) for run in runs}
    pairs = {name: some for name, some in pairs.items() if len(some)}
    if not pairs:
        raise RingfenceError(
            f"nothing to draw: no run has both canaries and {suite} measured during training; give runs with "
            "canary_interleaving and evaluation.during"
        )
    figure, axes = new_figure(asked.wide(COLUMN), 2.7)
    axis = axes[0][0]
    looks = Look.each([run.name for run in runs])
    for name, some in pairs.items():
        axis.plot(some[:, 0], 100 * some[:, 1], label=name, alpha=0.8, **looks[name].points)
    axis.set(xlabel="smoothed canary risk", title=said(correlation(list(pairs.values()))))
    percent_axis(axis, f"{suite}, %")
    legend_below(figure, columns=2)
    return figure


def matched(run: RunResult, suite: str, metric: str) -> NDArray[np.float64]:
    """(evaluations, 2): smoothed risk and rate; those without one of the two are left out."""
    control = run.control.dropna(subset=["smoothed_risk"]).sort_values("step")
    found = []
    for point in run.leak_curve(suite, metric):
        before = control[control["step"] <= point.step]
        if len(before) and not math.isnan(point.value):
            found.append((float(before["smoothed_risk"].iloc[-1]), point.value))
    return np.array(found, dtype=np.float64).reshape(-1, 2)


def correlation(groups: Sequence[NDArray[np.float64]], seed: int = 0) -> Rate:
    """Pearson's r of all points (points, 2) of the runs' ``groups``; NaN where it is not defined; ``n`` counts them."""
    together = np.concatenate(groups)
    value, n = _pearson(together), float(len(together))
    if len(groups) < LEAST or math.isnan(value):
        return Rate(value, n=n)
    draws = np.random.default_rng(seed).integers(len(groups), size=(RESAMPLES, len(groups)))
    values = [_pearson(np.concatenate([groups[one] for one in drawn])) for drawn in draws]
    low, high = np.nanquantile(values, [0.025, 0.975])
    return Rate(value, float(low), float(high), n)


def said(found: Rate) -> str:
    """The correlation in words."""
    if math.isnan(found.value):
        return f"no correlation from {found.n:.0f} points"
    interval = f"no interval below {LEAST} runs" if math.isnan(found.low) else f"[{found.low:.2f}, {found.high:.2f}]"
    return f"r = {found.value:.2f} ({interval}), {found.n:.0f} points"


def _pearson(pairs: NDArray[np.float64]) -> float:
    if len(pairs) < 3 or not np.ptp(pairs, axis=0).all():
        return math.nan
    return float(pearsonr(pairs[:, 0], pairs[:, 1]).statistic)
