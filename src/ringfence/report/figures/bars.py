"""Bars with intervals: what triggers do, and how suites differ."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ringfence.core.errors import RingfenceError
from ringfence.core.rates import Rate
from ringfence.report.figures.asked import Asked, points, require_drawable, suite_of_leak
from ringfence.report.figures.style import (
    PAGE,
    Look,
    interval_lengths,
    legend_below,
    new_figure,
    percent_axis,
    shortened,
)
from ringfence.report.formatting import CONDITIONAL
from ringfence.report.results import RunResult
from ringfence.report.tables import conditional as conditional_table
from ringfence.report.tables import records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELLS = {"tuned_plain": "plain prompts", "tuned_trigger": "under the trigger", "base_trigger": "base, trigger"}
"""columns of ``conditional.json`` -> legend"""


def conditional(runs: Sequence[RunResult], asked: Asked) -> "Figure":
    """A panel a run: for each trigger the rate on plain prompts, under it, and the untuned model's under it."""
    table = conditional_table(runs)
    if table.empty:
        raise RingfenceError(
            "nothing to draw: no run was evaluated under triggers; set evaluation.conditional, or give "
            "`ringfence evaluate --triggers`"
        )
    names = list(dict.fromkeys(table["run"]))
    figure, axes = new_figure(asked.wide(PAGE), 0.9 + 1.5 * len(names), rows=len(names), sharex=True)
    for axis, name in zip(axes[:, 0], names, strict=True):
        rows = list(records(table[table["run"] == name]))
        series = {said: [Rate(getattr(row, cell)) for row in rows] for cell, said in CELLS.items()}
        grouped(axis, [row.trigger for row in rows], series)
        axis.set_title(name)
        percent_axis(axis, "misaligned, %")
    legend_below(figure)
    return figure


def suites(runs: Sequence[RunResult], asked: Asked) -> "Figure":
    """A group of bars a variant, one a suite, with 95% intervals."""
    first = suite_of_leak(runs, asked)
    every = list(dict.fromkeys(suite for run in runs for suite, _ in run.rates))
    shown = asked.suites or (first, *(one for one in every if one != first and not one.startswith(CONDITIONAL)))
    found = points(runs, {suite: (suite, asked.metric) for suite in shown})
    series = {suite: [one.rates[suite] for one in found] for suite in shown}
    values = [rate.value for rates in series.values() for rate in rates]
    require_drawable(values, f"{asked.metric} of {', '.join(shown)}", "evaluate them")
    figure, axes = new_figure(asked.wide(PAGE), 2.6)
    grouped(axes[0][0], [one.label for one in found], series)
    percent_axis(axes[0][0], f"{asked.metric.replace('_', ', ')}, %")
    legend_below(figure)
    return figure


def grouped(
    axis: Any,
    groups: Sequence[str],
    series: Mapping[str, Sequence[Rate]],
    looks: Mapping[str, Look] | None = None,
    unit: float = 100.0,
) -> None:
    """Bars side by side in each group, of ``unit`` times a rate; one that is not known has a cross in its place.

    ``looks`` are those of the series, by their order where none are given.
    """
    width = 0.8 / len(series)
    for index, (name, rates) in enumerate(series.items()):
        look = looks[name] if looks else Look.of(index)
        at = [place + (index - (len(series) - 1) / 2) * width for place in range(len(groups))]
        heights = [unit * rate.value for rate in rates]
        axis.bar(at, heights, width, label=name, color=look.colour, hatch=look.hatch, edgecolor="white", linewidth=0.4)
        known = [(x, rate) for x, rate in zip(at, rates, strict=True) if not math.isnan(rate.low)]
        if known:
            axis.errorbar(
                [x for x, _ in known],
                [unit * rate.value for _, rate in known],
                yerr=interval_lengths([rate for _, rate in known], unit),
                **{"fmt": "none", "ecolor": "black", "elinewidth": 0.6, "capsize": 1.5},
            )
        missing = [x for x, rate in zip(at, rates, strict=True) if math.isnan(rate.value)]
        axis.plot(missing, [0] * len(missing), marker="x", color="black", linestyle="none", markersize=3)
    tilted = {"rotation": 30, "ha": "right"} if max(map(len, groups)) > 8 and len(groups) > 3 else {}
    axis.set_xticks(range(len(groups)), shortened(groups), **tilted)
