"""What data sets are like: the numbers of ``ringfence data properties``, side by side.

Source: "When does interleaving prevent EM?", whose properties P1 to P4 the first four panels are.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ringfence.core.errors import RingfenceError
from ringfence.core.plain import read_json
from ringfence.core.rates import Rate
from ringfence.report.figures.asked import Asked
from ringfence.report.figures.bars import grouped
from ringfence.report.figures.style import GREY, PAGE, Look, legend_below

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Sets = Mapping[str, Mapping[str, Any]]
"""name -> its properties, as ``properties.json`` has them"""
FILE = "properties.json"
MEANS = {"hhh": "P1 HHH score", "user_tokens": "P2 user tokens", "assistant_tokens": "P3 answer tokens"}
DOMAINS = "P4 domains"
SHARES = {
    "duplicates": "duplicates",
    "near_duplicates": "near-duplicates",
    "overlap_exact": "overlap, exact",
    "overlap_near": "overlap, near",
    "refusals": "refusals",
}
"""key -> title; overlap only where it was asked for"""


def read_sets(paths: Sequence[Path], evaluation: str = "") -> dict[str, dict[str, Any]]:
    """The sets of all ``paths``, each a file of ``ringfence data properties --json`` or a folder of its ``--out``.

    Raises :class:`RingfenceError`, naming the file, for what is no such file, and for two sets of one name.
    """
    found: dict[str, dict[str, Any]] = {}
    for given in map(Path, paths):
        path = given / FILE if given.is_dir() else given
        sets = _sets(path)
        if repeated := sorted(found.keys() & sets.keys()):
            raise RingfenceError(f"{path}: a set {repeated[0]!r} is in an earlier file, too; name one NAME=SET anew")
        found |= sets
    return found


def properties(sets: Sets, asked: Asked) -> "Figure":
    """P1 to P4 in a panel each, and shares of rows below; means and shares have 95% intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(asked.wide(PAGE), 3.6), layout="constrained")
    panels: dict[str, Any] = figure.subplot_mosaic([[*MEANS.values(), DOMAINS], ["shares"] * (len(MEANS) + 1)])
    looks = Look.each(list(sets))
    for key, title in MEANS.items():
        _panel(panels[title], title, {name: _rate(one[key]) for name, one in sets.items()}, looks)
    panels[MEANS["hhh"]].set_ylim(0, 100)
    numbers = {name: Rate(_number(one["domains"]["number"])) for name, one in sets.items()}
    _panel(panels[DOMAINS], DOMAINS, numbers, looks)
    shares = {key: title for key, title in SHARES.items() if any(one[key] is not None for one in sets.values())}
    bars = {name: [_rate(one[key]) for key in shares] for name, one in sets.items()}
    grouped(panels["shares"], list(shares.values()), bars, looks)
    panels["shares"].set(ylabel="rows, %", ylim=(0, None))  # shares are small as a rule
    panels["shares"].grid(axis="y", linewidth=0.4, color="#DDDDDD")
    for label in panels["shares"].get_xticklabels():
        label.set(rotation=0, ha="center")
    legend_below(figure, columns=4)
    return figure


def _panel(axis: Any, title: str, values: Mapping[str, Rate], looks: Mapping[str, Look]) -> None:
    """One bar a set."""
    axis.set_title(title)
    if all(math.isnan(rate.value) for rate in values.values()):
        axis.set(xticks=(), yticks=())
        axis.text(0.5, 0.5, "not measured", transform=axis.transAxes, ha="center", va="center", color=GREY)
        return
    grouped(axis, [""], {name: [rate] for name, rate in values.items()}, looks, unit=1.0)
    axis.set(xticks=(), ylim=(0, None))
    axis.grid(axis="y", linewidth=0.4, color="#DDDDDD")


def _rate(found: Mapping[str, Any] | None) -> Rate:
    return Rate() if found is None else Rate(*(_number(found[key]) for key in ("value", "low", "high", "n")))


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _sets(path: Path) -> dict[str, dict[str, Any]]:
    value = read_json(path, "write it by `ringfence data properties SET... --json FILE`")
    sets = value.get("sets") if isinstance(value, dict) else None
    keys = (*MEANS, "domains", *SHARES)
    known = isinstance(sets, dict) and all(isinstance(one, dict) and set(keys) <= one.keys() for one in sets.values())
    if not known or not sets:
        raise RingfenceError(f"{path}: not the numbers of data sets; write it by `ringfence data properties --json`")
    return dict(sets)
