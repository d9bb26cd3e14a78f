"""Which place a run has among colours, markers and dashes: by its name, not by where it was given."""

import re
from collections.abc import Sequence

from ringfence.report.results import BASELINE


def places(names: Sequence[str]) -> dict[str, int]:
    """Name -> place, from 0: the undefended run ("none") first, then by name, with numbers by their size.

    So the same runs look alike in every figure, in whatever order they are named.
    """
    ordered = sorted(dict.fromkeys(names), key=lambda name: (name != BASELINE, _parts(name), name))
    return {name: place for place, name in enumerate(ordered)}


def _parts(name: str) -> list[tuple[int, float, str]]:
    """Words and numbers of a name, in a form that can be compared."""
    return [
        (0, float(part), "") if re.fullmatch(r"\d+(?:\.\d+)?", part) else (1, 0.0, part.casefold())
        for part in re.split(r"(\d+(?:\.\d+)?)", name)
        if part
    ]
