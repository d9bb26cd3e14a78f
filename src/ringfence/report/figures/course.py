"""What happens during training: the leak, the closed loop, penalties, and the rewards of reinforcement learning."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from ringfence.core.errors import RingfenceError
from ringfence.report.figures.asked import Asked, suite_of_leak
from ringfence.report.figures.style import COLUMN, GREY, PAGE, Look, legend_below, new_figure, percent_axis
from ringfence.report.results import RunResult
from ringfence.report.rewards import STEP

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STEP = "optimizer step"


def leak(runs: Sequence[RunResult], asked: Asked) -> "Figure":
    """The rate of one suite at every evaluation in training, with its 95% interval."""
    suite = suite_of_leak(runs, asked)
    curves = {run.name: run.leak_curve(suite, asked.metric) for run in runs}
    if not any(curves.values()):
        raise RingfenceError(
            f"nothing to draw: no run measured {suite} during training; set evaluation.during, or draw `suites`"
        )
    figure, axes = new_figure(asked.wide(COLUMN), 2.4)
    axis = axes[0][0]
    looks = Look.each(list(curves))
    for name, curve in curves.items():
        if not curve:
            continue
        look, steps = looks[name], [point.step for point in curve]
        axis.plot(steps, [100 * point.value for point in curve], marker=look.marker, label=name, **look.line)
        low, high = ([100 * getattr(point, bound) for point in curve] for bound in ("low", "high"))
        axis.fill_between(steps, low, high, color=look.colour, alpha=0.15, linewidth=0)
    axis.set(xlabel=_STEP, xlim=(0, None))
    percent_axis(axis, f"{suite}, %")
    legend_below(figure, columns=2)
    return figure


def control(runs: Sequence[RunResult], asked: Asked) -> "Figure":
    """Above the canaries' risk as points, smoothed as a line, with the thresholds; below the ratio that came of it."""
    shown = [run for run in runs if not run.control.empty]
    if not shown:
        raise RingfenceError("nothing to draw: no run has a closed loop; give runs with canary_interleaving")
    figure, axes = new_figure(asked.wide(COLUMN), 3.2, rows=2, sharex=True)
    above, below = axes[:, 0]
    looks = Look.each([run.name for run in runs])
    for run in shown:
        look, table = looks[run.name], run.control
        above.plot(table["step"], table["risk"], alpha=0.5, markersize=3, **look.points)
        above.plot(table["step"], table["smoothed_risk"], label=run.name, **look.line)
        below.step(table["step"], table["ratio"], where="post", label=run.name, **look.line)
    for column in ("risk_high", "risk_low"):
        for value in sorted({float(one) for run in shown for one in run.control[column].dropna()}):
            above.axhline(value, color=GREY, linewidth=0.6, linestyle=(0, (1, 1)))
            above.annotate(f"{value:g}", (1, value), xycoords=("axes fraction", "data"), fontsize=6, color=GREY)
    above.set(ylabel="risk", ylim=(0, None))
    below.set(ylabel="ratio", xlabel=_STEP, ylim=(0, None), xlim=(0, None))
    legend_below(figure, columns=2)
    return figure


def rewards(runs: Sequence[RunResult], asked: Asked) -> "Figure":
    """A panel for the reward and for each of its parts, the length of completions, KL and ratio, where they are."""
    tables = {run.name: run.rewards for run in runs}
    return _panels(tables, asked, "nothing to draw: no run has rewards; give runs of `method: grpo`")


def penalties(runs: Sequence[RunResult], asked: Asked) -> "Figure":
    """A panel for each penalty, before its weight, and for the loss without penalties."""
    tables = {run.name: run.penalties for run in runs}
    return _panels(tables, asked, "nothing to draw: no run has penalties; give runs with kl or ldifs")


def _panels(tables: Mapping[str, pd.DataFrame], asked: Asked, missing: str) -> "Figure":
    """A panel a column of any run's table, over its steps."""
    names = list(dict.fromkeys(name for table in tables.values() if len(table) for name in table if name != STEP))
    if not names:
        raise RingfenceError(missing)
    columns = min(len(names), 3)
    rows = math.ceil(len(names) / columns)
    figure, axes = new_figure(asked.wide(PAGE), 0.6 + 1.5 * rows, rows, columns, sharex=True)
    panels: list[Any] = list(axes.flat)
    looks = Look.each(list(tables))
    for axis, name in zip(panels, names, strict=False):
        for run, table in tables.items():
            if name in table and len(table):
                axis.plot(table[STEP], table[name], label=run, **looks[run].line)
        axis.set(title=name, xlim=(0, None))
    for axis in panels[len(names) :]:
        axis.set_visible(False)
    for axis in panels[max(len(names) - columns, 0) : len(names)]:
        axis.set_xlabel(_STEP)
        axis.tick_params(labelbottom=True)
    legend_below(figure)
    return figure
