"""``draw``: one of the figures, by its name, of some runs or of other numbers, into a file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.core.run_folder import OWN
from ringfence.report.figures import bars, canary, cost, course, latent, sets, tradeoff
from ringfence.report.figures.asked import Asked
from ringfence.report.figures.style import paper_style, require_format, save
from ringfence.report.loading import load_runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RUNS = "run folders"


@dataclass(frozen=True)
class Drawing:
    """A figure that can be asked for."""

    shows: str
    """one line"""
    make: Callable[[Any, Asked], "Figure"]
    """from what ``read`` gives"""
    of: str = RUNS
    """what is given to it"""
    read: Callable[[Sequence[Path], str], Any] = load_runs
    """reads that; the second is the name of an evaluation"""


FIGURES: Mapping[str, Drawing] = {
    "tradeoff": Drawing("leak against incoherent answers and against the task, by strength", tradeoff.tradeoff),
    "leak": Drawing("the leak during training, with intervals", course.leak),
    "control": Drawing("risk and ratio of a closed loop by seed, with its thresholds", course.control),
    "canary": Drawing("canary risk against the leak at the same steps, with their correlation", canary.canary),
    "conditional": Drawing("misaligned answers under each trigger, of the run and of the base", bars.conditional),
    "suites": Drawing("rates by suite, such as short against long prompts", bars.suites),
    "penalties": Drawing("each penalty during training, and the loss without them", course.penalties),
    "rewards": Drawing("reward, its parts, length and ratio of reinforcement learning", course.rewards),
    "cost": Drawing("leak and task against safe tokens and time", cost.cost),
    "properties": Drawing(
        "data sets side by side: HHH score, lengths, domains, duplicates",
        sets.properties,
        "files of `ringfence data properties --json`",
        sets.read_sets,
    ),
    "latent": Drawing(
        "the map of data sets along a direction",
        latent.latent,
        "a file of `ringfence direction plot --json`",
        latent.read_map,
    ),
}


def drawing_of(name: str) -> Drawing:
    """The figure ``name``. Raises :class:`RingfenceError` for a name that there is not."""
    if name not in FIGURES:
        raise RingfenceError(f"{name}: no such figure.{did_you_mean(name, FIGURES)}")
    return FIGURES[name]


def read(name: str, paths: Sequence[Path], evaluation: str = OWN) -> Any:
    """What the figure ``name`` draws, from ``paths``: runs for most, see :data:`FIGURES`."""
    return drawing_of(name).read(paths, evaluation)


def figure_of(name: str, given: Any, asked: Asked | None = None) -> "Figure":
    """The figure ``name`` of ``given``, runs or whatever :func:`read` gives, for matplotlib's own use of it.

    Raises :class:`RingfenceError` for a name that there is not, and, naming what is missing, for what has nothing to
    draw.
    """
    drawing, asked = drawing_of(name), asked or Asked()
    if asked.suites and drawing.of != RUNS:
        raise RingfenceError(f"--suite: {name} has no suites; leave it out")
    with paper_style():
        return drawing.make(given, asked)


def draw(name: str, given: Any, out: Path, asked: Asked | None = None) -> Path:
    """Write the figure ``name`` of ``given`` to ``out`` (.pdf, .svg or .png), atomically; returns ``out``."""
    require_format(out)
    figure = figure_of(name, given, asked)
    with paper_style():
        save(figure, out)
    return out
