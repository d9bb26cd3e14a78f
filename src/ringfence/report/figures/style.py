"""The one style of all figures: as wide as a paper's column, and readable in grey and to the colour-blind.

Colours are those of Okabe and Ito (2008, https://jfly.uni-koeln.de/color/). Each comes with a marker, a dash and a
hatch of its own, so that nothing is told by colour alone. Fonts are inside of a PDF; in an SVG letters are outlines.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ringfence.core.errors import RingfenceError, install
from ringfence.core.files import atomic
from ringfence.core.rates import Rate
from ringfence.report.places import places

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMN, PAGE = 3.35, 6.9
"""inches: one column of a paper with two, and its whole width"""
FORMATS = ("pdf", "svg", "png")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "ooo", "---")
GREY = "#666666"
SETTINGS = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so that every machine draws the same
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "hatch.linewidth": 0.5,
    "pdf.fonttype": 42,  # TrueType, whole; 3 is what many venues refuse
    "svg.fonttype": "path",
    "svg.hashsalt": "ringfence",  # the same figure twice is the same file
    "savefig.dpi": 300,
}


@dataclass(frozen=True)
class Look:
    """How one run, or one family of runs, is drawn."""

    colour: str
    marker: str
    dash: Any
    hatch: str
    hollow: bool
    """whether markers are rings"""

    @classmethod
    def of(cls, index: int) -> "Look":
        """The ``index``-th; lines of 35 are all different, and markers of 14."""
        return cls(
            COLOURS[index % len(COLOURS)],
            MARKERS[index % len(MARKERS)],
            DASHES[index % len(DASHES)],
            HATCHES[index % len(HATCHES)],
            index // len(MARKERS) % 2 == 1,
        )

    @classmethod
    def each(cls, names: Sequence[str]) -> dict[str, "Look"]:
        """Name -> look, by the names alone, see :func:`~ringfence.report.places.places`."""
        return {name: cls.of(place) for name, place in places(names).items()}

    @property
    def line(self) -> dict[str, Any]:
        """Of a line without markers."""
        return {"color": self.colour, "linestyle": self.dash}

    @property
    def points(self) -> dict[str, Any]:
        """Of markers without a line."""
        filled = {"markerfacecolor": "white"} if self.hollow else {}
        return {"color": self.colour, "marker": self.marker, "linestyle": "none", **filled}


@contextmanager
def paper_style() -> Iterator[None]:
    """The style inside. Raises :class:`RingfenceError` without matplotlib."""
    try:
        from matplotlib import rc_context
    except ModuleNotFoundError:
        raise RingfenceError(f"figures are drawn by matplotlib, which is missing; {install('figures')}") from None
    with rc_context(SETTINGS):
        yield


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **more: Any) -> tuple["Figure", Any]:
    """A figure of ``width`` x ``height`` inches, and its axes (rows, columns)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **more)


def percent_axis(axis: Any, label: str) -> None:
    """A vertical axis of rates in percent, all of it."""
    axis.set(ylabel=label, ylim=(-3, 103), yticks=(0, 25, 50, 75, 100))
    axis.grid(axis="y", linewidth=0.4, color="#DDDDDD")


def interval_lengths(rates: Sequence[Rate], unit: float = 100.0) -> list[list[float]]:
    """How far the 95% intervals of ``rates`` reach below and above, times ``unit``, as error bars have it."""
    below = [max(unit * (one.value - one.low), 0.0) for one in rates]
    return [below, [max(unit * (one.high - one.value), 0.0) for one in rates]]


def say_missing(axis: Any, what: str) -> None:
    """Write into a panel without data that there are none: empty, it would look like a result."""
    if not axis.has_data():
        axis.text(0.5, 0.5, f"{what}: not measured", transform=axis.transAxes, ha="center", va="center", color=GREY)


def legend_below(figure: "Figure", columns: int = 3) -> None:
    """One legend of all panels under them, without repeats."""
    named: dict[str, Any] = {}
    for axis in figure.axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    if named:
        figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=columns)


def require_format(out: Path) -> str:
    """The format that the name of ``out`` asks for. Raises :class:`RingfenceError` for one that there is not."""
    wanted = out.suffix.removeprefix(".").lower()
    if wanted not in FORMATS:
        raise RingfenceError(f"{out}: a figure is a .pdf, .svg or .png file; name it so")
    if out.is_dir():
        raise RingfenceError(f"{out}: is a folder; name the file to write, e.g. {out / 'figure.pdf'}")
    return wanted


def save(figure: "Figure", out: Path) -> None:
    """Write ``figure`` to ``out``, atomically and without the time of day in it."""
    wanted = require_format(out)
    undated: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
    with atomic(out) as path:
        figure.savefig(path, format=wanted, metadata=undated[wanted])


def shortened(names: Sequence[str], most: int = 24) -> list[str]:
    """Names that fit below a bar."""
    return [name if len(name) <= most else f"{name[: most - 1]}…" for name in names]
