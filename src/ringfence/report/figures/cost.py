"""What a lower leak costs: leak and task against the safe tokens and the time that a run took.

More safe tokens alone lower the leak: what is to be better than random rows lies below the line of those. Time is in
multiples of the baseline's where it was trained, else in seconds; compare runs of one machine only.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ringfence.report.figures.asked import TASK, Asked, Point, points, require_drawable, suite_of_leak
from ringfence.report.figures.style import (
    PAGE,
    Look,
    interval_lengths,
    legend_below,
    new_figure,
    percent_axis,
    say_missing,
)
from ringfence.report.results import RunResult, baseline_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def cost(runs: Sequence[RunResult], asked: Asked) -> "Figure":
    """Four panels: leak above, task below; safe and anchor tokens left, time right. Error bars are 95% intervals."""
    suite = suite_of_leak(runs, asked)
    found = [one for one in points(runs, {"leak": (suite, asked.metric), "task": TASK}) if _trained(one)]
    require_drawable([one.rates["leak"].value for one in found], f"been trained and evaluated on {suite}", "do both")
    base = baseline_of(runs).outcome
    unit = base.seconds if base else 1.0
    across = {
        "tokens of safe and anchor rows, % of all": [100 * mean(one, "extra_token_fraction") for one in found],
        "time / baseline" if base else "seconds": [mean(one, "seconds") / unit for one in found],
    }
    looks = Look.each([one.variant.name for one in found])
    figure, axes = new_figure(asked.wide(PAGE), 4.2, rows=2, columns=2, sharey="row", sharex="col")
    for row, (name, label) in enumerate({"leak": f"leak ({suite}), %", "task": "task (in-domain), %"}.items()):
        for column, (said, values) in enumerate(across.items()):
            axis = axes[row][column]
            for one, x in zip(found, values, strict=True):
                rate, look = one.rates[name], looks[one.variant.name]
                if math.isnan(rate.value) or math.isnan(x):
                    continue
                lengths = interval_lengths([rate])
                axis.errorbar(x, 100 * rate.value, yerr=lengths, elinewidth=0.5, label=one.label, **look.points)
            say_missing(axis, label.removesuffix(", %"))
            if row:
                axis.set_xlabel(said)
        percent_axis(axes[row][0], label)
        axes[row][1].grid(axis="y", linewidth=0.4, color="#DDDDDD")
    legend_below(figure)
    return figure


def mean(one: Point, name: str) -> float:
    """Of the outcome of all seeds; NaN where one is not known."""
    values = [getattr(run.outcome, name) for run in one.variant.runs if run.outcome is not None]
    return sum(values) / len(values) if len(values) == len(one.variant.runs) else math.nan


def _trained(one: Point) -> bool:
    return all(run.outcome is not None for run in one.variant.runs)
