"""Render a Jinja template into one self-contained HTML file."""

import colorsys
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

PLOTLY = "plotly-basic.min.js"
"""npm's plotly.js-basic-dist-min 4.1.1 as it is: lines, points and bars in a quarter of the whole library"""
COLOURS = 7
"""runs whose colours are in ``page.css``"""
GOLDEN_ANGLE = 0.381966  # of a turn: hues that follow each other are far apart, however many there are
LIGHT, DARK = (0.30, 0.42), (0.66, 0.80)  # lightness of every other colour on paper and in the dark


def render_template(
    template: str,
    scripts: Sequence[str],
    values: Mapping[str, Any],
    filters: Mapping[str, Callable[..., Any]],
    colours: int = COLOURS,
) -> str:
    """The HTML of ``template``, a file of ``assets/`` as ``scripts`` are; ``colours`` is how many runs have one.

    Our own files go in as they are; everything else is escaped by jinja, unless a value is ``Markup``.
    """
    environment = Environment(
        autoescape=True, loader=FunctionLoader(_asset), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= filters
    return environment.get_template(template).render(
        **values,
        css=Markup(_asset("page.css") + palette(colours)),
        plotly=Markup(_asset(PLOTLY)),
        scripts=Markup("\n".join(map(_asset, ("theme.js", *scripts, "hints.js")))),
    )


def palette(count: int) -> str:
    """The colours of the runs beyond the first :data:`COLOURS`, as custom properties of both themes."""
    runs = range(COLOURS, count)
    themes = ((":root", LIGHT), (':root[data-theme="dark"]', DARK))
    return "".join(
        f"{theme} {{ {' '.join(f'--run-{run}: {_colour(run, lightness)};' for run in runs)} }}\n"
        for theme, lightness in themes
    )


def _colour(run: int, lightness: Sequence[float]) -> str:
    channels = colorsys.hls_to_rgb(GOLDEN_ANGLE * run % 1, lightness[run % 2], 0.62)
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in channels)


def _asset(name: str) -> str:
    return files("ringfence.report.html").joinpath("assets", name).read_text(encoding="utf-8")
