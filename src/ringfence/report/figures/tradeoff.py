"""What each defense gives up for a low leak: the leak against incoherent answers, and against the task.

Runs with the same defenses are one line, in the order of their strengths; runs that differ in their seed alone are one
point. Left is better on both panels' vertical axis the lower the leak; a defense that is free of cost has its points at
the bottom: at the left on the first panel, at the right on the second.

Source: Kaczer et al. 2025 (https://arxiv.org/abs/2508.06249), figure 1, whose axes these are; intervals are ours.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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
from ringfence.report.results import RunResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PANELS = {"incoherent": "incoherent answers, %", "task": "task (in-domain), %"}


def tradeoff(runs: Sequence[RunResult], asked: Asked) -> "Figure":
    """Two panels with the leak of ``runs``; error bars are 95% intervals."""
    suite = suite_of_leak(runs, asked)
    wanted = {"leak": (suite, asked.metric), "incoherent": (suite, "incoherent"), "task": TASK}
    found = points(runs, wanted)
    require_drawable([one.rates["leak"].value for one in found], f"answers on {suite}", "evaluate them")
    lines = families(found)
    looks = Look.each(list(lines))
    figure, axes = new_figure(asked.wide(PAGE), 2.6, columns=2, sharey=True)
    for axis, (name, label) in zip(axes[0], _PANELS.items(), strict=True):
        for family, some in lines.items():
            _line(axis, some, name, looks[family])
        axis.set(xlabel=label, xlim=(-3, 103))
        say_missing(axis, label.removesuffix(", %"))
    percent_axis(axes[0][0], f"leak ({suite}), %")
    axes[0][1].grid(axis="y", linewidth=0.4, color="#DDDDDD")
    legend_below(figure)
    return figure


def families(found: Sequence[Point]) -> dict[str, list[Point]]:
    """Points with the same defenses, by strength; by the name of their defenses, or their own without any."""
    grouped: dict[str, list[Point]] = {}
    for one in found:
        grouped.setdefault(" + ".join(one.defenses) or one.label, []).append(one)
    return {name: sorted(some, key=lambda one: one.strength) for name, some in grouped.items()}


def _line(axis: Any, family: Sequence[Point], name: str, look: Look) -> None:
    shown = [one for one in family if not (math.isnan(one.rates["leak"].value) or math.isnan(one.rates[name].value))]
    if not shown:
        return
    label = family[0].label if len(family) == 1 else " + ".join(family[0].defenses)
    x, y = ([100 * one.rates[key].value for one in shown] for key in (name, "leak"))
    across, up = (interval_lengths([one.rates[key] for one in shown]) for key in (name, "leak"))
    bars = {"xerr": across, "yerr": up, "elinewidth": 0.5}
    axis.errorbar(x, y, label=label, marker=look.marker, clip_on=False, **bars, **look.line)
