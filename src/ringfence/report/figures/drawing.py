"""``draw``: one of the figures, by its name, of some runs, into a file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.report.figures import bars, canary, cost, course, tradeoff
from ringfence.report.figures.asked import Asked
from ringfence.report.figures.style import paper_style, require_format, save
from ringfence.report.results import RunResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """A figure that can be asked for."""

    shows: str
    """one line"""
    make: Callable[[Sequence[RunResult], Asked], "Figure"]


FIGURES: Mapping[str, Drawing] = {
    "tradeoff": Drawing("leak against incoherent answers and against the task, by strength", tradeoff.tradeoff),
    "leak": Drawing("the leak during training, with intervals", course.leak),
    "control": Drawing("risk and ratio of a closed loop by seed, with its thresholds", course.control),
    "canary": Drawing("canary risk against the leak at the same steps, with their correlation", canary.canary),
    "conditional": Drawing("misaligned answers under each trigger, of the run and of the base", bars.conditional),
    "suites": Drawing("rates by suite, such as short against long prompts", bars.suites),
    "rewards": Drawing("reward, its parts, length and ratio of reinforcement learning", course.rewards),
    "cost": Drawing("leak and task against safe tokens and time", cost.cost),
}


def figure_of(name: str, runs: Sequence[RunResult], asked: Asked | None = None) -> "Figure":
    """The figure ``name`` of ``runs``, for matplotlib's own use of it.

    Raises :class:`RingfenceError` for a name that there is not, and, naming what is missing, for runs that have nothing
    to draw.
    """
    if name not in FIGURES:
        raise RingfenceError(f"{name}: no such figure.{did_you_mean(name, FIGURES)}")
    with paper_style():
        return FIGURES[name].make(runs, asked or Asked())


def draw(name: str, runs: Sequence[RunResult], out: Path, asked: Asked | None = None) -> Path:
    """Write the figure ``name`` of ``runs`` to ``out`` (.pdf, .svg or .png), atomically; returns ``out``."""
    require_format(out)
    figure = figure_of(name, runs, asked)
    with paper_style():
        save(figure, out)
    return out
