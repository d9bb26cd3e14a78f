"""The map of data sets along a direction, as the page of ``ringfence direction plot`` has it.

t-SNE keeps neighbours together, and neither distances nor sizes: that two clouds are far apart says little.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ringfence.core.errors import RingfenceError
from ringfence.core.plain import read_json
from ringfence.report.figures.asked import Asked
from ringfence.report.figures.style import PAGE, Look, legend_below, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Map = Mapping[str, Any]
"""what ``ringfence direction plot --json`` writes"""
SCALE = "cividis"
"""of matplotlib: alike to colour-blind readers, and from dark to light in grey"""
UNKNOWN = "#CCCCCC"
KEYS = {"rows": ("set", "projection", "tokens", "x", "y"), "marks": ("x", "y")}
MANY = 1000
"""rows from which on points are drawn as one picture inside the file"""


def read_map(paths: Sequence[Path], evaluation: str = "") -> Map:
    """The map in the one file of ``paths``. Raises :class:`RingfenceError`, naming it, for anything else."""
    if len(paths) != 1:
        raise RingfenceError(f"latent: draws one map, and {len(paths)} files are given")
    path = Path(paths[0])
    remedy = "write it by `ringfence direction plot VECTOR SET... --out MAP.html --json MAP.json`"
    value = read_json(path, remedy)
    parts = [value.get(part) for part in KEYS] if isinstance(value, dict) else [None]
    if not all(isinstance(part, dict) for part in parts) or not {"sets", "em"} <= value.keys():
        raise RingfenceError(f"{path}: not the map of data sets; {remedy}")
    for part, columns in KEYS.items():
        lengths = {len(value[part].get(column) or ()) for column in columns}
        if len(lengths) > 1:
            raise RingfenceError(f"{path}: the columns of {part} are not of one length; {remedy}")
    return dict(value)


def latent(found: Map, asked: Asked) -> "Figure":
    """A panel by set, one by projection, one by measured EM where it is known, one by tokens; rings are prompts."""
    rows = {name: np.array(found["rows"][name], dtype=np.float64) for name in KEYS["rows"]}
    em = np.array([np.nan if rate is None else 100 * rate for rate in found["em"]], dtype=np.float64)
    coloured = {"projection": rows["projection"], "tokens": rows["tokens"]}
    if not np.isnan(em).all():
        coloured["measured EM, %"] = em[rows["set"].astype(int)]
    figure, axes = new_figure(asked.wide(PAGE), 2.3 if len(coloured) < 3 else 2.0, columns=1 + len(coloured))
    _by_set(axes[0][0], found["sets"], rows)
    for axis, (title, values) in zip(axes[0][1:], coloured.items(), strict=True):
        known = ~np.isnan(values)
        _points(axis, rows, ~known, c=UNKNOWN)
        drawn = _points(axis, rows, known, c=values[known], cmap=SCALE)
        bar = figure.colorbar(drawn, ax=axis, orientation="horizontal", aspect=30, pad=0.02)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=6, length=2)
        axis.set_title(title)
    for axis in axes[0]:
        axis.plot(found["marks"]["x"], found["marks"]["y"], "o", markersize=4, mfc="white", mec="black", mew=0.9)
        axis.set(xticks=(), yticks=())
        axis.spines[:].set_visible(True)
    if found["marks"]["x"]:
        axes[0][0].lines[-1].set_label("evaluation prompts")
    legend_below(figure)
    return figure


def _by_set(axis: Any, names: Sequence[str], rows: Mapping[str, NDArray[np.float64]]) -> None:
    """Each set in its own colour and marker."""
    looks = Look.each(names)
    for place, name in enumerate(names):
        look = looks[name]
        fill = {"facecolors": "none", "edgecolors": look.colour} if look.hollow else {"c": look.colour}
        drawn = _points(axis, rows, rows["set"] == place, marker=look.marker, **fill)
        drawn.set_label(name)
    axis.set_title("set")


def _points(axis: Any, rows: Mapping[str, NDArray[np.float64]], kept: NDArray[np.bool_], **how: Any) -> Any:
    """The rows ``kept`` as small dots."""
    many = len(kept) > MANY
    style = {"s": 3 if many else 7, "linewidths": 0.5 if "edgecolors" in how else 0, "rasterized": many}
    return axis.scatter(rows["x"][kept], rows["y"][kept], **style, **how)
