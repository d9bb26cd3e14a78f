"""What ``ringfence direction`` prints, as tables of text."""

import itertools
import math
import string
from collections.abc import Sequence

from ringfence.core.statistics import Interval
from ringfence.core.text_table import TextTable
from ringfence.directions.axis import Direction, Floats
from ringfence.directions.fitting import DirectionReport
from ringfence.directions.probe import mean_interval
from ringfence.directions.sets import DatasetGroup, Representations

_LETTERS = string.ascii_uppercase


def worth_tables(direction: Direction, worth: DirectionReport, names: Sequence[str]) -> list[TextTable]:
    """What a direction between the first two sets of ``names`` is worth."""
    told = (("rows that it is fitted on", worth.fitted), ("held out", worth.held_out))
    tables = [
        _table("Sets", ["", "set"], list(zip(_LETTERS, names, strict=False)), words=["set"]),
        _table(
            f"A - B at layer {direction.layer} of {direction.model}, length {direction.norm:.3f}",
            ["separation", "AUC", "gap in SDs", "rows of A", "rows of B"],
            [(name, number(one.auc), number(one.gap), str(one.n_a), str(one.n_b)) for name, one in told],
        ),
        _length_table(worth),
        _layer_table(worth),
    ]
    if len(names) > 2:
        pairs = [f"{a} - {b}" for a, b in itertools.combinations(_LETTERS[: len(names)], 2)]
        cells = [[pair, *map(number, row)] for pair, row in zip(pairs, worth.pair_cosines.tolist(), strict=True)]
        tables.append(_table("Anchors: cosines between the directions of all pairs", ["", *pairs], cells))
    return tables


def means_table(sets: DatasetGroup, points: Representations, projections: Floats) -> TextTable:
    """Every set's mean projection; rows behind those of ``sets`` are left out."""
    rows = []
    for place, name in enumerate(sets.names):
        values, tokens = (sets.of(column[: len(sets)])[place] for column in (projections, points.tokens))
        bounds = interval_text(mean_interval(values))
        rows.append((name, str(len(values)), number(float(values.mean())), bounds, f"{tokens.mean():.1f}"))
    return _table("Projections", ["set", "rows", "mean", "95 % interval", "mean tokens"], rows)


def number(value: float) -> str:
    """Three decimals, or words for NaN."""
    return "no data" if math.isnan(value) else f"{value:.3f}"


def interval_text(interval: Interval) -> str:
    """Both bounds, or nothing."""
    return "" if math.isnan(interval.width) else f"{interval.low:.3f} to {interval.high:.3f}"


def _length_table(worth: DirectionReport) -> TextTable:
    probe = worth.length
    return _table(
        f"Length: {probe.rows} rows, each held out; the interval takes them for independent",
        ["", "", "95 % interval"],
        [
            ("R2 of the projection on the number of tokens", number(probe.r2), ""),
            ("rank correlation with the number of tokens", number(probe.spearman), ""),
            ("correlation with the set", number(probe.correlation), ""),
            ("the same at equal length (partial)", number(probe.partial), interval_text(probe.interval)),
        ],
    )


def _layer_table(worth: DirectionReport) -> TextTable:
    resamples = worth.layers[0].stability.resamples
    columns = ["layer", "length", "AUC held out", "mean", "2.5 %", *(str(at.layer) for at in worth.layers)]
    rows = []
    for at, cosines in zip(worth.layers, worth.layer_cosines.tolist(), strict=True):
        numbers = (at.norm, at.held_out.auc, at.stability.mean, at.stability.low, *cosines)
        rows.append([str(at.layer), *map(number, numbers)])
    title = f"Stability: mean and 2.5 % cosine with {resamples} resamplings of both sets, and cosines between layers"
    return _table(title, columns, rows)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[str] = ()) -> TextTable:
    table = TextTable(title, columns, words=words)
    for row in rows:
        table.add(*row)
    return table
