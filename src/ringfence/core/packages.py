"""Packages that Ringfence can do without: one that a recipe asks for and this machine lacks is told in one line."""

import importlib.util
from collections.abc import Iterable

from ringfence.core.errors import install


def require_package(packages: Iterable[str], what: str, extra: str | None = None) -> None:
    """Raise ``ValueError``, beginning with ``what``, unless one of ``packages`` is installed; none is imported.

    ``extra``: the optional part of Ringfence that brings it
    """
    names = list(packages)
    if not any(importlib.util.find_spec(name) for name in names):
        named, remedy = " or ".join(names), "install it" if extra is None else install(extra)
        raise ValueError(f"{what} needs the package {named}, which is not installed; {remedy}, or leave it out")
