"""One self-contained HTML page that shows data sets along a direction: t-SNE of their rows in three colourings.

t-SNE keeps neighbours together, and neither distances nor sizes: that two clouds are far apart on the page says little.
The tables beside it, of projections, say how far apart the sets are. The page loads nothing from anywhere.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike, NDArray

from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.core.files import write_text
from ringfence.core.statistics import Interval
from ringfence.directions.probe import LengthProbe, length_probe, mean_interval
from ringfence.report.html.payload import script_json
from ringfence.report.html.template import render_template

COMPONENTS = 50
PERPLEXITY = 30.0


@dataclass(frozen=True)
class Latent:
    """What the page is about: rows of sets, and evaluation prompts among them."""

    sets: Sequence[str]
    """names"""
    set_of: NDArray[np.int64]
    """(rows,) place in ``sets``"""
    origins: Sequence[str]
    """(rows,) ``file:line``"""
    projection: NDArray[np.float64]
    """(rows,)"""
    tokens: NDArray[np.int64]
    """(rows,)"""
    em: Mapping[str, float] = field(default_factory=dict)
    """set -> measured emergent misalignment of a model trained with it, 0 to 1; those that are not known left out"""
    marks: Sequence[str] = ()
    """names of evaluation prompts"""
    mark_projection: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """(marks,)"""

    def __post_init__(self) -> None:
        if len({len(self.set_of), len(self.origins), len(self.projection), len(self.tokens)}) > 1:
            raise RingfenceError("sets, origins, projections and numbers of tokens are not of the same number of rows")
        for name, rate in self.em.items():
            if name not in self.sets:
                raise RingfenceError(f"EM of an unknown set {name!r}.{did_you_mean(name, self.sets)}")
            if not 0 <= rate <= 1:
                raise RingfenceError(f"the EM of {name} is {rate}; give a rate from 0 to 1")


@dataclass(frozen=True)
class SetSummary:
    """A row of the table."""

    name: str
    rows: int
    mean: float
    """projection"""
    interval: Interval
    tokens: float
    """median"""
    em: float
    """NaN if it is not known"""


def flatten(points: ArrayLike, seed: int = 0) -> NDArray[np.float64]:
    """(rows, 2): t-SNE of the first :data:`COMPONENTS` principal components of (rows, hidden). Seeded.

    Perplexity is 30, or (rows - 1) / 3 where that is less. Raises :class:`RingfenceError` for fewer than 4 rows and for
    numbers that are not finite.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    rows = np.asarray(points, dtype=np.float64)
    if rows.ndim != 2 or len(rows) < 4:
        raise RingfenceError(f"a map needs at least 4 rows, and there are {len(rows)}; give more or larger sets")
    if not np.isfinite(rows).all():
        raise RingfenceError("the representations hold NaN or infinity; compute them again")
    if not np.ptp(rows, axis=0).any():
        raise RingfenceError("all rows have the same representation, so there is nothing to map; give other sets")
    components = min(COMPONENTS, len(rows) - 1, rows.shape[1])
    reduced = PCA(components, random_state=seed).fit_transform(rows)
    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    start = reduced[:, :2] if components > 1 else np.column_stack([reduced[:, 0], np.zeros(len(rows))])
    start = 1e-4 * start / start.std(axis=0)[0]  # as scikit-learn scales its own
    tsne = TSNE(perplexity=perplexity, init=start.astype(np.float32), random_state=seed, n_jobs=1)
    return tsne.fit_transform(reduced).astype(np.float64)


def thinned(sizes: Sequence[int], most: int) -> NDArray[np.int64]:
    """Places of at most ``most`` rows a set, evenly spaced, among the rows of sets of ``sizes`` one after the other."""
    if most < 1:
        raise RingfenceError(f"rows of a set on the map: {most}; it must be at least 1")
    places, start = [], 0
    for size in sizes:
        count = min(size, most)
        places.append(start + (2 * np.arange(count) + 1) * size // (2 * max(count, 1)))
        start += size
    return np.concatenate(places).astype(np.int64) if places else np.zeros(0, np.int64)


def summarize_sets(latent: Latent) -> list[SetSummary]:
    """One row a set, over all of its rows."""
    found = []
    for place, name in enumerate(latent.sets):
        own = latent.set_of == place
        projection, tokens = latent.projection[own], latent.tokens[own]
        mean, median = (float(projection.mean()), float(np.median(tokens))) if own.any() else (math.nan, math.nan)
        em = latent.em.get(name, math.nan)
        found.append(SetSummary(name, int(own.sum()), mean, mean_interval(projection), median, em))
    return found


def probe_of(latent: Latent) -> tuple[LengthProbe, LengthProbe | None]:
    """The length probe over all rows and, over the sets with a measured EM, the one with EM as outcome."""
    groups = [latent.sets[place] for place in latent.set_of.tolist()]
    measured = np.array([name in latent.em for name in groups], dtype=bool)
    with_em = None
    if measured.any():
        known = [name for name in groups if name in latent.em]
        with_em = length_probe(
            latent.projection[measured], latent.tokens[measured], [latent.em[name] for name in known], known
        )
    return length_probe(latent.projection, latent.tokens), with_em


def write_latent(
    out: Path, latent: Latent, shown: NDArray[np.int64], places: NDArray[np.float64], facts: Sequence[tuple[str, str]]
) -> None:
    """Write the page to ``out``, atomically.

    ``shown`` are the rows on the map, ascending; ``places`` (shown + marks, 2) where they and then the marks are;
    ``facts`` pairs of words for the end of the page.
    """
    if places.shape != (len(shown) + len(latent.marks), 2):
        raise RingfenceError(f"places have shape {places.shape} for {len(shown)} rows and {len(latent.marks)} marks")
    every, with_em = probe_of(latent)
    values = dict(
        latent=latent,
        sets=summarize_sets(latent),
        probe=every,
        with_em=with_em,
        mark_mean=float(latent.mark_projection.mean()) if len(latent.marks) else math.nan,
        shown=len(shown),
        facts=facts,
        data=Markup(script_json(map_payload(latent, shown, places))),
    )
    filters: dict[str, Callable[..., str]] = {"number": _number, "bounds": _bounds, "percent": _percent}
    write_text(out, render_template("latent.html.j2", ["latent.js"], values, filters, colours=len(latent.sets)))


def map_payload(latent: Latent, shown: NDArray[np.int64], places: NDArray[np.float64]) -> dict[str, Any]:
    """What is drawn: columns, one value a shown row; None where there is none. Arguments as of :func:`write_latent`."""
    rows, marks = np.round(places[: len(shown)], 3), np.round(places[len(shown) :], 3)
    return {
        "sets": list(latent.sets),
        "em": [latent.em.get(name) for name in latent.sets],
        "rows": {
            "set": latent.set_of[shown].tolist(),
            "origin": [latent.origins[place] for place in shown.tolist()],
            "projection": np.round(latent.projection[shown], 5).tolist(),
            "tokens": latent.tokens[shown].tolist(),
            "x": rows[:, 0].tolist(),
            "y": rows[:, 1].tolist(),
        },
        "marks": {
            "name": list(latent.marks),
            "projection": np.round(latent.mark_projection, 5).tolist(),
            "x": marks[:, 0].tolist(),
            "y": marks[:, 1].tolist(),
        },
    }


def _number(value: float) -> str:
    return "no data" if math.isnan(value) else f"{value:.3g}".replace("-", "−")


def _bounds(interval: Interval) -> str:
    return "" if math.isnan(interval.width) else f"[{_number(interval.low)}, {_number(interval.high)}]"


def _percent(rate: float) -> str:
    return "not measured" if math.isnan(rate) else f"{100 * rate:.1f}%"
