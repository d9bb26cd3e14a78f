"""Fit a direction between two sets, and measure how well it separates them and how stable it is."""

import importlib.metadata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ringfence.data.system import NoSystem, require_possible
from ringfence.directions.axis import Direction, Floats, describe, fit
from ringfence.directions.probe import (
    FOLDS,
    LengthProbe,
    Separation,
    Stability,
    anchors,
    cosines,
    held_out,
    length_probe,
    resampled,
    separation,
)
from ringfence.directions.representations import OnRows, default_layer
from ringfence.directions.sets import DatasetGroup, locate
from ringfence.models import Loaded
from ringfence.models.activations import bare
from ringfence.models.identity import identity

PACKAGES = ("ringfence", "torch", "transformers", "numpy")


@dataclass(frozen=True)
class Fitting:
    """How to fit."""

    layer: int | None = None
    """None: :func:`ringfence.directions.representations.default_layer`"""
    others: tuple[int, ...] = ()
    """layers to compare it with"""
    no_system: NoSystem = "template_default"
    bootstrap: int = 200
    """resamples of both sets"""
    seed: int = 0
    """of folds and resamples"""
    batch_tokens: int = 8192


@dataclass(frozen=True)
class AtLayer:
    """The direction of the two sets at one layer."""

    layer: int
    norm: float
    held_out: Separation
    stability: Stability


@dataclass(frozen=True)
class DirectionReport:
    """What a direction is worth; see :mod:`ringfence.directions.probe`."""

    fitted: Separation
    """of the rows that it is fitted on"""
    held_out: Separation
    """of each row on the direction of the others"""
    length: LengthProbe
    """of those projections; the outcome is 1 for a row of A and 0 for one of B"""
    layers: tuple[AtLayer, ...]
    layer_cosines: Floats
    """(layers, layers)"""
    pairs: tuple[str, ...]
    """of sets, ``A - B`` first"""
    pair_cosines: Floats
    """(pairs, pairs)"""


def fit_direction(
    loaded: Loaded, sets: DatasetGroup, specs: Sequence[str], fitting: Fitting, on_rows: OnRows | None = None
) -> tuple[Direction, DirectionReport]:
    """The direction from the second of ``sets`` to the first; any others are anchors to compare with.

    Raises :class:`RingfenceError` for sets of one centroid, a layer that is not there, and a ``no_system`` that the
    chat template does not let be.
    """
    require_possible(fitting.no_system, loaded.tokenizer)
    layer = default_layer(loaded.model) if fitting.layer is None else fitting.layer
    wanted = sorted({layer, *fitting.others})
    points = locate(loaded, sets.rows, wanted, "user", fitting.no_system, fitting.batch_tokens, on_rows)
    by_layer = {k: sets.of(points.layers[k]) for k in wanted}
    tokens = np.concatenate(sets.of(points.tokens)[:2])
    a, b, *_ = by_layer[layer]
    vector = fit(a, b)
    worth = _worth(by_layer, layer, tokens, sets.names, fitting)
    about: dict[str, Any] = {
        **{key: describe(specs[place], sets.conversations[place]) for place, key in enumerate("ab")},
        "dtype": str(bare(loaded.model).dtype).removeprefix("torch."),
        "fitted": asdict(worth.fitted),
        "held_out": asdict(worth.held_out),
        "length": asdict(worth.length),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    name, base = loaded.name, identity(loaded.model)
    return Direction(vector, layer, "user", base, name, fitting.no_system, about), worth


def _worth(
    by_layer: dict[int, list[NDArray[np.float32]]],
    layer: int,
    tokens: NDArray[np.int64],
    names: Sequence[str],
    fitting: Fitting,
) -> DirectionReport:
    a, b, *_ = by_layer[layer]
    scores = held_out(a, b, FOLDS, fitting.seed)
    label = np.repeat([1.0, 0.0], [len(a), len(b)])
    # Without a row for every fold there are no projections to probe.
    told = np.concatenate(scores)
    known = np.isfinite(told)
    unit = fit(a, b).astype(np.float64)
    unit /= np.linalg.norm(unit)
    pairs, pair_cosines = anchors(dict(zip(names, by_layer[layer], strict=True)))
    return DirectionReport(
        fitted=separation(a @ unit, b @ unit),
        held_out=_separated(*scores),
        length=length_probe(told[known], tokens[known], label[known], seed=fitting.seed),
        layers=tuple(_at_layer(k, rows[0], rows[1], fitting) for k, rows in by_layer.items()),
        layer_cosines=cosines(np.stack([fit(rows[0], rows[1]) for rows in by_layer.values()])),
        pairs=tuple(pairs),
        pair_cosines=pair_cosines,
    )


def _at_layer(k: int, a: NDArray[np.float32], b: NDArray[np.float32], fitting: Fitting) -> AtLayer:
    norm = float(np.linalg.norm(fit(a, b).astype(np.float64)))
    stability = resampled(a, b, fitting.bootstrap, fitting.seed)
    return AtLayer(k, norm, _separated(*held_out(a, b, FOLDS, fitting.seed)), stability)


def _separated(a: Floats, b: Floats) -> Separation:
    """Of the rows that have a projection."""
    return separation(a[np.isfinite(a)], b[np.isfinite(b)])
