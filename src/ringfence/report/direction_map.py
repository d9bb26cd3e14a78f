"""The map of data sets along a direction: what ``ringfence direction plot`` draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ringfence.core.files import write_json
from ringfence.data.conversations import Conversation
from ringfence.directions.axis import Direction, Floats
from ringfence.directions.sets import DatasetGroup, Representations
from ringfence.report.html.latent import Latent, flatten, map_payload, thinned, write_latent


@dataclass(frozen=True)
class Drawing:
    """What is drawn beside the sets, and how."""

    direction: Path
    specs: Sequence[str]
    """of the sets"""
    rates: Mapping[str, float]
    """set -> measured misalignment"""
    suites: Sequence[str]
    marks: Sequence[Conversation]
    """the prompts of the suites"""
    rows: int
    """most rows of a set on the map"""
    seed: int
    numbers: Path | None = None
    """file for what is drawn, which ``ringfence figure latent`` takes"""


def latent_of(
    sets: DatasetGroup,
    points: Representations,
    projections: Floats,
    rates: Mapping[str, float],
    marks: Sequence[Conversation],
) -> Latent:
    """What the page shows: ``points`` and ``projections`` are of the rows of ``sets``, and then of ``marks``."""
    size = len(sets)
    return Latent(
        sets=sets.names,
        set_of=np.repeat(np.arange(len(sets.names)), [len(own) for own in sets.conversations]),
        origins=[row["origin"] for row in sets.rows],
        projection=projections[:size],
        tokens=points.tokens[:size],
        em=rates,
        marks=[mark["origin"] for mark in marks],
        mark_projection=projections[size:],
    )


def write_map(
    out: Path, direction: Direction, sets: DatasetGroup, points: Representations, projections: Floats, drawing: Drawing
) -> None:
    """Write the page, and the numbers if they are asked for.

    ``points`` and ``projections`` are of the rows of ``sets``, and then of the marks.
    """
    latent = latent_of(sets, points, projections, drawing.rates, drawing.marks)
    shown = thinned([len(own) for own in sets.conversations], drawing.rows)
    vectors = points.layers[direction.layer]
    places = flatten([*vectors[shown], *vectors[len(sets) :]], drawing.seed)
    said = f"{drawing.direction.name}: layer {direction.layer} of {direction.model} ({direction.base})"
    facts = [
        ("direction", f"{said}, {direction.role} tokens"),
        *((f"set {name}", spec) for name, spec in zip(sets.names, drawing.specs, strict=True)),
        *(("evaluation prompts", spec) for spec in drawing.suites),
        ("seed of the map", str(drawing.seed)),
    ]
    write_latent(out, latent, shown, places, facts)
    if drawing.numbers is not None:
        write_json(drawing.numbers, {"about": facts, **map_payload(latent, shown, places)})
