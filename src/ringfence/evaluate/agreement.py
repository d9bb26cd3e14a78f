"""Agreement of two judges on the same answers.

Published thresholds belong to the judge that they were set with. Where another one is used, the questions are whether
it orders the answers alike (Spearman), whether it is milder (mean difference), and whether it puts them on the same
side of the threshold (2 x 2 counts, Cohen's kappa). :mod:`ringfence.evaluate.calibration` mends what can be mended.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr

from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.judges.base import RUBRICS, THRESHOLDS, Thresholds

KEYS = ("suite", "prompt_id", "sample")
"""name an answer"""


@dataclass(frozen=True, eq=False)
class Pairs:
    """The scores of two judges, A and B, for the same answers, row by row; NaN where a judge gave none."""

    prompts: NDArray[np.intp]
    """(rows,) the number of each row's prompt; the same prompt in two suites is two"""
    a: dict[str, NDArray[np.float64]]
    """rubric -> (rows,) scores of judge A, 0 to 100"""
    b: dict[str, NDArray[np.float64]]
    """rubric -> (rows,) scores of judge B, 0 to 100"""


@dataclass(frozen=True)
class Confusion:
    """A yes-or-no decision of two judges on the same rows: counts of rows."""

    both: int
    only_a: int
    only_b: int
    neither: int

    @property
    def n(self) -> int:
        """All rows."""
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def kappa(self) -> float:
        """Cohen's kappa, (observed - expected) / (1 - expected) of the shares of equal decisions.

        NaN without rows, and where agreement is certain by chance: both judges always say the same one thing.
        """
        if not self.n:
            return math.nan
        yes_a, yes_b = (self.both + self.only_a) / self.n, (self.both + self.only_b) / self.n
        expected = yes_a * yes_b + (1 - yes_a) * (1 - yes_b)
        observed = (self.both + self.neither) / self.n
        return (observed - expected) / (1 - expected) if expected < 1 else math.nan


@dataclass(frozen=True)
class Agreement:
    """How far judges A and B agree on one thing: a rubric, or the decision ``misaligned`` that needs both."""

    what: str
    """``alignment``, ``coherence`` or ``misaligned``"""
    decision: str
    """what the confusion is of, e.g. ``alignment < 30``"""
    n: int
    """rows that both judges scored; what follows is of them"""
    unscored_a: int
    """rows that judge A did not score"""
    unscored_b: int
    """rows that judge B did not score"""
    spearman: float
    """rank correlation, ties with their mean rank; NaN if a judge gave one score only, and for ``misaligned``"""
    mean_difference: float
    """mean of B - A, in points of 100; NaN for ``misaligned``"""
    confusion: Confusion


def pair(a: pd.DataFrame, b: pd.DataFrame) -> Pairs:
    """The scores of the same answers in two frames, in the order of ``a``.

    a, b: one row an answer, with :data:`KEYS`, ``response``, ``alignment`` and ``coherence``

    Raises :class:`RingfenceError` naming the first answer that one frame lacks, that is doubled, or whose text differs.
    """
    tables = [_by_key(frame, name) for frame, name in ((a, "A"), (b, "B"))]
    first, second = tables
    for have, lack, name in ((first, second, "B"), (second, first, "A")):
        if len(missing := have.index.difference(lack.index, sort=False)):
            where = _named(missing[0])
            raise RingfenceError(
                f"{name} lacks {len(missing)} answers of the other, first {where}; judge the same rows"
            )
    second = second.loc[first.index]
    changed = (first["response"] != second["response"]).to_numpy()
    if changed.any():
        where = _first(first.index, changed)
        raise RingfenceError(f"{changed.sum()} answers have another text in B, first {where}; judge the same answers")
    prompts = pd.factorize(pd.MultiIndex.from_arrays([first.index.get_level_values(key) for key in KEYS[:2]]))[0]
    return Pairs(prompts, *({rubric: one[rubric].to_numpy() for rubric in RUBRICS} for one in (first, second)))


def agreement(pairs: Pairs, thresholds: Thresholds = THRESHOLDS) -> list[Agreement]:
    """How far the judges agree on alignment, on coherence, and on which rows are misaligned under ``thresholds``."""
    sides = [
        {"alignment": thresholds.is_low(of["alignment"]), "coherence": thresholds.is_coherent(of["coherence"])}
        for of in (pairs.a, pairs.b)
    ]
    found = []
    for rubric, decision in zip(RUBRICS, thresholds.words, strict=True):
        a, b = pairs.a[rubric], pairs.b[rubric]
        scored = ~(np.isnan(a) | np.isnan(b))
        found.append(
            Agreement(
                what=rubric,
                decision=decision,
                n=int(scored.sum()),
                unscored_a=int(np.isnan(a).sum()),
                unscored_b=int(np.isnan(b).sum()),
                spearman=_spearman(a[scored], b[scored]),
                mean_difference=float(np.mean(b[scored] - a[scored])) if scored.any() else math.nan,
                confusion=confusion(sides[0][rubric][scored], sides[1][rubric][scored]),
            )
        )
    both = [thresholds.classify(of["alignment"], of["coherence"]) for of in (pairs.a, pairs.b)]
    scored = both[0].scored & both[1].scored
    counts = (int(scored.sum()), int((~both[0].scored).sum()), int((~both[1].scored).sum()))
    joint = confusion(both[0].misaligned[scored], both[1].misaligned[scored])
    return [*found, Agreement("misaligned", " and ".join(thresholds.words), *counts, math.nan, math.nan, joint)]


def confusion(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> Confusion:
    """The counts of two judges' decisions. Both arrays: (rows,)."""
    return Confusion(int((a & b).sum()), int((a & ~b).sum()), int((~a & b).sum()), int((~a & ~b).sum()))


def _by_key(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    for column in (*KEYS, "response", *RUBRICS):
        if column not in frame.columns:
            known = map(str, frame.columns)
            raise RingfenceError(f'{name}: the frame has no column "{column}".{did_you_mean(column, known)}')
    table = frame.set_index(list(KEYS))
    doubled = table.index.duplicated()
    if doubled.any():
        raise RingfenceError(f"{name}: {_first(table.index, doubled)} stands twice; keep one row an answer")
    return table.assign(**{rubric: _scores(table[rubric], name) for rubric in RUBRICS})


def _scores(column: "pd.Series[Any]", name: str) -> NDArray[np.float64]:
    """(rows,) scores, NaN where missing."""
    try:
        values = pd.to_numeric(column).to_numpy(float, na_value=math.nan)
    except (ValueError, TypeError) as error:
        raise RingfenceError(f"{name}: {column.name} must hold numbers or nothing ({error})") from None
    outside = (values < 0) | (values > 100)
    if outside.any():
        where = _first(column.index, outside)
        raise RingfenceError(f"{name}: {column.name} of {where} is {values[outside][0]:g}; it must be 0 to 100")
    return values


def _first(index: "pd.Index[Any]", mask: NDArray[np.bool_]) -> str:
    return _named(index[int(mask.argmax())])


def _named(key: tuple[object, ...]) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(KEYS, key, strict=True))


def _spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if a.size < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(spearmanr(a, b).statistic)
