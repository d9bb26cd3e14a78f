"""Measures of a direction: how well it separates two sets, its correlation with length, and its stability.

- AUC = P(projection of a row of A > projection of a row of B), ties half.
- gap = (mean of A - mean of B) / pooled standard deviation.
- partial correlation of projection p with outcome y given length t:
  (r_py - r_pt r_yt) / sqrt((1 - r_pt^2) (1 - r_yt^2)).

In a wide space the difference of two centroids separates the rows that it comes from even where the sets are alike. So
:func:`held_out` projects every row on the direction of the others, and those numbers are the ones to go by.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata, spearmanr
from scipy.stats import t as student

from ringfence.core.errors import RingfenceError, error_prefix
from ringfence.core.statistics import NO_INTERVAL, Interval, check_confidence, percentile
from ringfence.directions.axis import Floats, fit

RESAMPLES = 2000
FOLDS = 5
FEWEST_GROUPS = 6  # of a bootstrap: fewer make few different draws
FEWEST_USABLE = 0.95  # share of resamples with a partial correlation: the others may well lie in the tails
_CONSTANT = 1e-12  # variance, as a share of the mean square, below which numbers are constant up to rounding
_DRAWN_AT_ONCE = 1 << 22  # counts held in memory


@dataclass(frozen=True)
class Separation:
    """How far apart two sets' projections are."""

    auc: float
    """0.5 is none, 1 is all of A above all of B; NaN without rows in both"""
    gap: float
    """difference of means in pooled standard deviations; NaN with fewer than 2 rows in a set, or without spread"""
    n_a: int
    n_b: int


@dataclass(frozen=True)
class LengthProbe:
    """How much of a projection is length; NaN where it cannot be told."""

    rows: int
    r2: float
    """share of the projection's variance that a straight line in the number of tokens explains"""
    spearman: float
    """rank correlation of projection and number of tokens"""
    correlation: float
    """of projection and outcome"""
    partial: float
    """the same at a given number of tokens"""
    interval: Interval
    """bootstrap interval of ``partial``"""
    usable: float
    """share of the resamples that have a partial correlation; NaN without a bootstrap"""


@dataclass(frozen=True)
class Stability:
    """Cosines of directions fitted on resampled sets with the direction of the whole sets."""

    mean: float
    low: float
    """the 2.5 % quantile"""
    resamples: int


def separation(a: ArrayLike, b: ArrayLike) -> Separation:
    """Of projections of A and B, (rows,) each. Raises :class:`RingfenceError` for numbers that are not finite."""
    first, second = _column("projections of A", a), _column("projections of B", b)
    n_a, n_b = first.size, second.size
    auc = gap = math.nan
    if n_a and n_b:
        ranks = rankdata(np.concatenate([first, second]))[:n_a]
        auc = float((ranks.sum() - n_a * (n_a + 1) / 2) / (n_a * n_b))
    if min(n_a, n_b) > 1:
        squares = np.square(first - first.mean()).sum() + np.square(second - second.mean()).sum()
        spread = math.sqrt(squares / (n_a + n_b - 2))
        gap = float((first.mean() - second.mean()) / spread) if spread > 0 else math.nan
    return Separation(auc, gap, n_a, n_b)


def held_out(a: ArrayLike, b: ArrayLike, folds: int = FOLDS, seed: int = 0) -> tuple[Floats, Floats]:
    """Projections of (rows, hidden) sets, each row on the direction of the other folds.

    Measured from the middle between those folds' centroids, so that folds can be pooled. All NaN if a set has fewer
    than ``folds`` rows. Deterministic given ``seed``.
    """
    sets = [np.asarray(rows, dtype=np.float64) for rows in (a, b)]
    if folds < 2:
        raise RingfenceError(f"folds is {folds}: it must be at least 2")
    scores = [np.full(len(rows), np.nan) for rows in sets]
    if min(map(len, sets)) >= folds:
        generator = np.random.Generator(np.random.Philox(seed))
        parts = [generator.permutation(len(rows)) % folds for rows in sets]
        for fold in range(folds):
            left = [rows[part != fold] for rows, part in zip(sets, parts, strict=True)]
            vector = fit(*left).astype(np.float64)
            middle = (left[0].mean(axis=0) + left[1].mean(axis=0)) / 2
            for rows, part, score in zip(sets, parts, scores, strict=True):
                score[part == fold] = (rows[part == fold] - middle) @ (vector / np.linalg.norm(vector))
    return scores[0], scores[1]


def length_probe(
    projection: ArrayLike,
    tokens: ArrayLike,
    outcome: ArrayLike | None = None,
    groups: Sequence[object] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> LengthProbe:
    """How much of ``projection``, (rows,), the number of ``tokens`` explains, and what is left for ``outcome``.

    The interval is a percentile bootstrap over rows or, with ``groups``, over whole groups of rows: an outcome that was
    measured once for a set is no new evidence in each of its rows. NaN with fewer than 3 rows, for a column that is
    constant, and where length determines one of the others. No interval with fewer than 6 rows (groups), and if fewer
    than 95% of the resamples have a partial correlation: to leave the others out would bias it.
    Raises :class:`RingfenceError` for columns of different lengths and for numbers that are not finite.
    """
    check_confidence(0.95, resamples)
    columns = [_column("projections", projection), _column("numbers of tokens", tokens)]
    columns += [] if outcome is None else [_column("outcomes", outcome)]
    if len({column.size for column in columns}) > 1 or (groups is not None and len(groups) != columns[0].size):
        raise RingfenceError("projections, tokens, outcomes and groups are not of the same number of rows")
    rows, centred = columns[0].size, np.stack([_centred(column) for column in columns])
    spearman = r2 = correlation = partial = usable = math.nan
    interval = NO_INTERVAL
    if rows >= 3:
        whole = np.ones((1, rows))
        r = _correlations(centred, whole)[0]
        r2 = float(r[0, 1] ** 2)  # of a line with one regressor
        if not math.isnan(r2):
            spearman = float(spearmanr(columns[0], columns[1]).statistic)
        if outcome is not None:
            correlation, partial = float(r[0, 2]), float(_partial(r))
            if math.isfinite(partial):
                interval, usable = _interval(centred, groups, resamples, seed)
    return LengthProbe(rows, r2, spearman, correlation, partial, interval, usable)


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Student's t interval of the mean of independent ``values``: mean -+ t sd / sqrt(n); NaN with fewer than 2."""
    check_confidence(confidence)
    column = _column("values", values)
    if column.size < 2:
        return NO_INTERVAL
    half = student.ppf((1 + confidence) / 2, column.size - 1) * column.std(ddof=1) / math.sqrt(column.size)
    return Interval(float(column.mean() - half), float(column.mean() + half))


def cosines(vectors: ArrayLike) -> Floats:
    """(directions, directions) cosine of each pair of (directions, hidden); NaN for a zero vector.

    Between layers it compares what the residual stream carries on, for that is one space that all layers add to; it
    says nothing of what two layers compute.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    units = np.divide(rows, norms, out=np.full_like(rows, np.nan), where=norms > 0)
    return np.clip(units @ units.T, -1, 1)


def resampled(a: ArrayLike, b: ArrayLike, resamples: int = 200, seed: int = 0) -> Stability:
    """Both sets drawn anew with replacement, ``resamples`` times; NaN where a set has fewer than 2 rows."""
    check_confidence(0.95, resamples)
    sets = [np.asarray(rows, dtype=np.float64) for rows in (a, b)]
    full = fit(*sets).astype(np.float64)
    if min(map(len, sets)) < 2:
        return Stability(math.nan, math.nan, resamples)
    streams = np.random.Generator(np.random.Philox(seed)).spawn(2)
    means = [_resampled_means(rows, resamples, stream) for rows, stream in zip(sets, streams, strict=True)]
    drawn = means[0] - means[1]
    norms = np.linalg.norm(drawn, axis=1) * np.linalg.norm(full)
    found = (drawn @ full)[norms > 0] / norms[norms > 0]
    return Stability(float(found.mean()), float(np.quantile(found, 0.025)), resamples)


def anchors(sets: Mapping[str, ArrayLike]) -> tuple[list[str], Floats]:
    """Names (``"A - B"``) of the directions of all pairs of ``sets``, in their order, and :func:`cosines` of these."""
    if len(sets) < 2:
        raise RingfenceError(f"a direction is between two sets, and there are {len(sets)}")
    vectors: dict[str, NDArray[np.float32]] = {}
    for a, b in itertools.combinations(sets, 2):
        with error_prefix(name := f"{a} - {b}"):
            vectors[name] = fit(sets[a], sets[b])
    return list(vectors), cosines(np.stack(list(vectors.values())))


def _resampled_means(rows: Floats, resamples: int, generator: np.random.Generator) -> Floats:
    """(resamples, hidden) means of as many rows as there are, drawn with replacement."""
    means, size = [], len(rows)
    block = max(1, _DRAWN_AT_ONCE // size)
    for start in range(0, resamples, block):
        counts = generator.multinomial(size, np.full(size, 1 / size), size=min(block, resamples - start))
        means.append(counts @ rows / size)
    return np.concatenate(means)


def _interval(centred: Floats, groups: Sequence[object] | None, resamples: int, seed: int) -> tuple[Interval, float]:
    """Of the partial correlation, and the share of resamples that have one."""
    rows = centred.shape[1]
    order = {group: place for place, group in enumerate(dict.fromkeys(groups or ()))}
    group_of = np.arange(rows) if groups is None else np.array([order[group] for group in groups])
    size = int(group_of.max()) + 1
    if size < FEWEST_GROUPS:
        return NO_INTERVAL, math.nan
    generator, found = np.random.Generator(np.random.Philox(seed)), []
    block = max(1, _DRAWN_AT_ONCE // rows)
    for start in range(0, resamples, block):
        counts = generator.multinomial(size, np.full(size, 1 / size), size=min(block, resamples - start))
        found.append(_partial(_correlations(centred, counts[:, group_of].astype(np.float64))))
    values = np.concatenate(found)
    known = values[np.isfinite(values)]
    usable = known.size / values.size
    return (percentile(known, 0.95) if usable >= FEWEST_USABLE else NO_INTERVAL), usable


def _correlations(columns: Floats, weights: Floats) -> Floats:
    """(resamples, columns, columns) Pearson correlations of (columns, rows) under (resamples, rows) counts."""
    size, count = weights.sum(axis=1), len(columns)
    products = (columns[:, None] * columns[None]).reshape(count * count, -1)
    means = weights @ columns.T / size[:, None]  # (resamples, columns)
    covariance = (weights @ products.T / size[:, None]).reshape(-1, count, count)
    squares = np.einsum("rii->ri", covariance).copy()
    covariance -= means[:, :, None] * means[:, None, :]
    variance = np.einsum("rii->ri", covariance).copy()
    variance[variance <= _CONSTANT * squares] = np.nan  # constant but for rounding
    scale = np.sqrt(variance[:, :, None] * variance[:, None, :])
    return np.clip(covariance / scale, -1, 1)


def _partial(r: Floats) -> Floats:
    """Partial correlation of columns 0 and 2 given column 1, of (..., columns, columns) correlations."""
    left = (1 - r[..., 0, 1] ** 2) * (1 - r[..., 1, 2] ** 2)
    left = np.where(left > _CONSTANT, left, np.nan)
    return np.clip((r[..., 0, 2] - r[..., 0, 1] * r[..., 1, 2]) / np.sqrt(left), -1, 1)


def _centred(column: Floats) -> Floats:
    """Less its mean, exactly zero where all are equal."""
    return column - column.mean() if column.size and np.ptp(column) > 0 else np.zeros_like(column)


def _column(name: str, values: ArrayLike) -> NDArray[np.float64]:
    column = np.asarray(values, dtype=np.float64)
    if column.ndim != 1:
        raise RingfenceError(f"{name} have shape {column.shape}: one number a row is wanted")
    if not np.isfinite(column).all():
        raise RingfenceError(f"{name} hold NaN or infinity, first in row {int(np.argmin(np.isfinite(column))) + 1}")
    return column
