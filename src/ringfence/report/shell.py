"""What every page is made of: a jinja template, and in it style, plotly, scripts and data, so that one file is all."""

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs


def fill(
    template: str, scripts: Sequence[str], values: Mapping[str, Any], filters: Mapping[str, Callable[..., Any]]
) -> str:
    """The HTML of ``template``, a file of ``assets/`` as ``scripts`` are.

    Our own files go in as they are; everything else is escaped by jinja, unless a value is ``Markup``.
    """
    environment = Environment(
        autoescape=True, loader=FunctionLoader(_asset), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= filters
    return environment.get_template(template).render(
        **values,
        css=Markup(_asset("page.css")),
        plotly=Markup(get_plotlyjs()),
        scripts=Markup("\n".join(map(_asset, ("theme.js", *scripts)))),
    )


def _asset(name: str) -> str:
    return files("ringfence.report").joinpath("assets", name).read_text(encoding="utf-8")
