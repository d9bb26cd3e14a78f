"""Map one judge's scores to another's by a monotone map, with its errors on held-out prompts.

The map g is the isotonic regression of judge B's scores on judge A's: of all non-decreasing functions the one with the
least squared error, constant between violators pooled and linear between its knots. Judge A's scores outside those
that it was fitted to are clipped to the nearest one. Answers to one prompt resemble each other, so the folds of the
cross-validation are made of whole prompts.

A calibration moves scores, and cannot make a judge see what it does not see: look at the rank correlation first.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression

from ringfence.core.errors import RingfenceError
from ringfence.core.files import write_json
from ringfence.core.plain import read_json
from ringfence.evaluate.agreement import Pairs
from ringfence.judges.base import RUBRICS, THRESHOLDS, Thresholds

FEWEST = 20
"""rows that both judges scored"""
FOLDS = 5

_Knots = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Calibration:
    """A map from judge A's scores to judge B's under one rubric."""

    rubric: str
    x: tuple[float, ...]
    """scores of judge A at the knots, increasing"""
    y: tuple[float, ...]
    """scores of judge B there, not decreasing"""
    n: int
    """rows that it was fitted to"""
    prompts: int
    """prompts that they belong to"""
    mae_before: float
    """mean of |B - A|, in points of 100"""
    mae_after: float
    """mean of |B - g(A)| on prompts that g was not fitted to, in points of 100"""

    def apply(self, scores: ArrayLike) -> NDArray[np.float64]:
        """``scores`` of judge A, of any shape, as judge B would give them; NaN stays NaN."""
        return _mapped(np.asarray(scores, dtype=float), (np.array(self.x), np.array(self.y)))


@dataclass(frozen=True)
class DecisionErrors:
    """How often judge A calls a row misaligned, or not, where judge B says otherwise; shares of ``n`` rows."""

    before: float
    after: float
    """with both of its scores calibrated, on prompts that the calibrations were not fitted to"""
    n: int
    """rows that both judges scored under both rubrics"""


def calibrate(pairs: Pairs, rubric: str, seed: int = 0) -> Calibration:
    """The calibration from judge A to judge B under ``rubric``.

    ``seed`` deals the prompts to the folds. Raises :class:`RingfenceError` with fewer than :data:`FEWEST` rows that
    both judges scored, if one of them gave one score only, and if all rows are of one prompt.
    """
    a, b = pairs.a[rubric], pairs.b[rubric]
    scored = ~(np.isnan(a) | np.isnan(b))
    _require_enough(a[scored], b[scored], rubric)
    predicted = _held_out(pairs, rubric, seed)[scored]
    x, y = _fit(a[scored], b[scored])
    return Calibration(
        rubric=rubric,
        x=tuple(x.tolist()),
        y=tuple(y.tolist()),
        n=int(scored.sum()),
        prompts=len(np.unique(pairs.prompts[scored])),
        mae_before=float(np.abs(b - a)[scored].mean()),
        mae_after=float(np.abs(b[scored] - predicted).mean()),
    )


def decision_errors(pairs: Pairs, thresholds: Thresholds = THRESHOLDS, seed: int = 0) -> DecisionErrors:
    """What calibrating both rubrics does to the decision "misaligned". Raises as :func:`calibrate` does."""
    for rubric in RUBRICS:
        scored = ~(np.isnan(pairs.a[rubric]) | np.isnan(pairs.b[rubric]))
        _require_enough(pairs.a[rubric][scored], pairs.b[rubric][scored], rubric)
    held_out = {rubric: _held_out(pairs, rubric, seed) for rubric in RUBRICS}
    scored = np.all([~np.isnan(of[rubric]) for of in (pairs.a, pairs.b) for rubric in RUBRICS], axis=0)
    before, after, truth = (
        thresholds.classify(of["alignment"], of["coherence"]).misaligned[scored] for of in (pairs.a, held_out, pairs.b)
    )
    if not scored.any():
        return DecisionErrors(math.nan, math.nan, 0)
    return DecisionErrors(float((before != truth).mean()), float((after != truth).mean()), int(scored.sum()))


def calibrated(frame: pd.DataFrame, calibrations: Mapping[str, Calibration]) -> pd.DataFrame:
    """``frame``, an answer a row, with the column of every calibrated rubric on judge B's scale."""
    return frame.assign(**{rubric: one.apply(frame[rubric]) for rubric, one in calibrations.items()})


def save_calibrations(path: Path, calibrations: Sequence[Calibration]) -> None:
    """Write the calibrations of some rubrics to a JSON file."""
    write_json(path, {one.rubric: asdict(one) for one in calibrations})


def load_calibrations(path: Path) -> dict[str, Calibration]:
    """Rubric -> calibration. Raises :class:`RingfenceError` for a file that :func:`save_calibrations` did not write."""
    content = read_json(path, "calibrate the judges again")
    if not isinstance(content, dict) or not content:
        raise RingfenceError(f"{path}: expected calibrations by rubric; calibrate the judges again")
    return {rubric: _checked(rubric, values, path) for rubric, values in content.items()}


def _require_enough(a: NDArray[np.float64], b: NDArray[np.float64], rubric: str) -> None:
    if a.size < FEWEST:
        raise RingfenceError(
            f"{rubric}: both judges scored {a.size} answers, and a calibration needs {FEWEST}; judge more"
        )
    for name, scores in (("A", a), ("B", b)):
        if np.ptp(scores) == 0:
            raise RingfenceError(f"{rubric}: judge {name} gave {scores[0]:g} every time; there is nothing to calibrate")


def _fit(a: NDArray[np.float64], b: NDArray[np.float64]) -> _Knots:
    """The knots of the isotonic regression of ``b`` on ``a``, without those that a straight line passes through."""
    x, where, counts = np.unique(a, return_inverse=True, return_counts=True)
    # Rows of equal A have one prediction: their mean B, weighted by how many they are.
    means = np.bincount(where, weights=b) / counts
    y = np.clip(isotonic_regression(means, weights=counts).x, 0, 100)
    inner = np.r_[False, (y[1:-1] == y[:-2]) & (y[1:-1] == y[2:]), False] if x.size > 2 else np.zeros(x.size, bool)
    return x[~inner], y[~inner]


def _mapped(scores: NDArray[np.float64], knots: _Knots) -> NDArray[np.float64]:
    return np.where(np.isnan(scores), math.nan, np.interp(scores, *knots))


def _held_out(pairs: Pairs, rubric: str, seed: int) -> NDArray[np.float64]:
    """(rows,) judge A's scores, each mapped by a fit to the other folds' prompts; NaN where A gave none."""
    a, b = pairs.a[rubric], pairs.b[rubric]
    scored = ~(np.isnan(a) | np.isnan(b))
    prompts = np.unique(pairs.prompts[scored])
    if prompts.size < 2:
        raise RingfenceError(f"{rubric}: all answers are to one prompt; a calibration is tested on others, so add some")
    dealt = np.random.default_rng(seed).permutation(prompts)
    predicted = np.full(a.shape, math.nan)
    for fold in range(min(FOLDS, prompts.size)):
        here = np.isin(pairs.prompts, dealt[fold::FOLDS])
        train = scored & ~here
        predicted[here] = _mapped(a[here], _fit(a[train], b[train]))
    return predicted


def _checked(rubric: str, values: Any, path: Path) -> Calibration:
    names = [field.name for field in fields(Calibration)]
    problem = f"{path}: {rubric}: not a calibration"
    if not isinstance(values, dict) or sorted(values) != sorted(names) or values["rubric"] != rubric:
        raise RingfenceError(f"{problem} (it needs {', '.join(names)}); calibrate the judges again")
    if rubric not in RUBRICS:
        raise RingfenceError(f"{problem}: the rubrics are {' and '.join(RUBRICS)}")
    try:
        x, y = (np.array(values[name], dtype=float) for name in "xy")
    except (ValueError, TypeError):
        raise RingfenceError(f"{problem}: x and y must be lists of numbers; calibrate the judges again") from None
    within = x.ndim == 1 and x.shape == y.shape and x.size > 0 and ((x >= 0) & (x <= 100) & (y >= 0) & (y <= 100)).all()
    if not within or (np.diff(x) <= 0).any() or (np.diff(y) < 0).any():
        raise RingfenceError(f"{problem}: x must increase, y not decrease, both from 0 to 100; calibrate again")
    return Calibration(**values | {"x": tuple(x.tolist()), "y": tuple(y.tolist())})
