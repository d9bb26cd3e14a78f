"""Separation, length probe and stability against counting, least squares and cases worked by hand."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from ringfence.core.errors import RingfenceError
from ringfence.directions.probe import anchors, cosines, held_out, length_probe, resampled, separation


def residuals(y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a straight line in ``x`` leaves of ``y``."""
    design = np.stack([np.ones_like(x), x], axis=1)
    return y - design @ np.linalg.lstsq(design, y, rcond=None)[0]


def mixed(seed: int = 0, rows: int = 60) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Projections that hang on length and on an outcome, lengths, and outcomes that hang on length."""
    generator = np.random.default_rng(seed)
    tokens = generator.integers(5, 80, rows).astype(np.float64)
    outcome = 0.02 * tokens + generator.normal(size=rows)
    return 100 - 0.3 * tokens + 2 * outcome + generator.normal(size=rows), tokens, outcome


# --- separation ---------------------------------------------------------------------------------------------


def test_separation_by_hand() -> None:
    """Pairs above: 3 > 1, 3 > 2, 2 > 1, and a tie; gap 2.5 - 1.5 over the pooled deviation sqrt((.5 + .5) / 2)."""
    found = separation([2, 3], [1, 2])
    assert found.auc == 3.5 / 4
    assert found.gap == pytest.approx(1 / math.sqrt(0.5))
    assert (found.n_a, found.n_b) == (2, 2)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12))
def test_auc_is_the_share_of_pairs(seed: int, n_a: int, n_b: int) -> None:
    generator = np.random.default_rng(seed)
    a, b = generator.integers(0, 6, n_a), generator.integers(0, 6, n_b)
    pairs = [1.0 if x > y else 0.5 if x == y else 0.0 for x in a for y in b]
    assert separation(a, b).auc == pytest.approx(sum(pairs) / len(pairs))


def test_separation_of_nothing() -> None:
    nothing = separation([], [1, 2])
    assert math.isnan(nothing.auc)
    assert math.isnan(nothing.gap)
    assert math.isnan(separation([1], [2, 3]).gap)
    assert separation([1], [2, 3]).auc == 0
    assert math.isnan(separation([1, 1], [2, 2]).gap)


def test_held_out_of_the_same_distribution_does_not_separate() -> None:
    """40 rows each in 500 dimensions: the difference of the centroids separates its own rows, and no others."""
    generator = np.random.default_rng(1)
    a, b = generator.normal(size=(40, 500)), generator.normal(size=(40, 500))
    direction = a.mean(0) - b.mean(0)
    assert separation(a @ direction, b @ direction).auc > 0.99
    assert 0.3 < separation(*held_out(a, b)).auc < 0.7


def test_held_out_of_sets_apart() -> None:
    generator = np.random.default_rng(1)
    a, b = generator.normal(size=(40, 50)), generator.normal(size=(30, 50))
    a[:, 0] += 6
    left, right = held_out(a, b)
    assert (left.size, right.size) == (40, 30)
    assert separation(left, right).auc > 0.99
    assert left.mean() > 0 > right.mean()


def test_held_out_is_the_others_direction() -> None:
    """With as many folds as rows, every row by a direction without it."""
    generator = np.random.default_rng(2)
    a, b = generator.normal(1, 1, (3, 4)), generator.normal(size=(3, 4))
    left, right = held_out(a, b, folds=3, seed=7)
    pairs = {}
    for i in range(3):
        for j in range(3):
            others_a, others_b = np.delete(a, i, 0).mean(0), np.delete(b, j, 0).mean(0)
            unit = (others_a - others_b) / np.linalg.norm(others_a - others_b)
            middle = (others_a + others_b) / 2
            pairs[i, j] = ((a[i] - middle) @ unit, (b[j] - middle) @ unit)
    for i in range(3):
        assert any(np.allclose((left[i], right[j]), pairs[i, j], atol=1e-6) for j in range(3))


def test_held_out_needs_rows_for_every_fold() -> None:
    left, right = held_out(np.eye(4), np.ones((9, 4)), folds=5)
    assert np.isnan(left).all()
    assert np.isnan(right).all()
    with pytest.raises(RingfenceError, match="folds is 1"):
        held_out(np.eye(4), np.ones((9, 4)), folds=1)


# --- length -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_length_probe_against_least_squares(seed: int) -> None:
    projection, tokens, outcome = mixed(seed)
    found = length_probe(projection, tokens, outcome, resamples=100)
    left = residuals(projection, tokens)
    assert found.r2 == pytest.approx(1 - left @ left / np.square(projection - projection.mean()).sum())
    assert found.partial == pytest.approx(np.corrcoef(left, residuals(outcome, tokens))[0, 1])
    assert found.correlation == pytest.approx(np.corrcoef(projection, outcome)[0, 1])
    assert found.spearman == pytest.approx(stats.spearmanr(projection, tokens).statistic)
    assert found.interval.low < found.partial < found.interval.high
    assert found.rows == 60


def test_partial_by_hand() -> None:
    """r_py = 0.5, r_pt = 0.5, r_yt = 0.5 gives 0.25 / 0.75 = 1/3: three columns of an orthogonal design."""
    e1, e2, e3 = np.array([1, 1, -1, -1.0]), np.array([1, -1, 1, -1.0]), np.array([1, -1, -1, 1.0])
    tokens = e1
    projection = 0.5 * e1 + math.sqrt(0.75) * e2
    outcome = 0.5 * e1 + (0.25 / math.sqrt(0.75)) * e2 + math.sqrt(0.75 - 0.0625 / 0.75) * e3
    found = length_probe(projection, tokens, outcome, resamples=10)
    assert found.r2 == pytest.approx(0.25)
    assert found.correlation == pytest.approx(0.5)
    assert found.partial == pytest.approx(1 / 3)


def test_interval_is_the_percentiles_of_a_naive_bootstrap() -> None:
    projection, tokens, outcome = mixed(5, rows=40)
    generator, partials = np.random.default_rng(0), []
    for _ in range(3000):
        drawn = generator.integers(40, size=40)
        left = (residuals(column[drawn], tokens[drawn]) for column in (projection, outcome))
        partials.append(np.corrcoef(*left)[0, 1])
    found = length_probe(projection, tokens, outcome, resamples=3000).interval
    np.testing.assert_allclose([found.low, found.high], np.quantile(partials, [0.025, 0.975]), atol=0.03)


def test_interval_covers() -> None:
    """True partial correlation 0: the interval leaves it out in about 5 of 100 samples."""
    missed = 0
    for seed in range(100):
        generator = np.random.default_rng(seed)
        tokens = generator.normal(size=40)
        projection, outcome = tokens + generator.normal(size=40), tokens + generator.normal(size=40)
        interval = length_probe(projection, tokens, outcome, resamples=300, seed=seed).interval
        missed += not interval.low <= 0 <= interval.high
    assert missed <= 15


def test_rows_of_a_group_are_drawn_together() -> None:
    """Ten copies of each row say no more than one; as groups they do not, as rows they pretend to."""
    projection, tokens, outcome = mixed(3, rows=20)
    once = length_probe(projection, tokens, outcome)
    copies = [np.repeat(column, 10) for column in (projection, tokens, outcome)]
    grouped = length_probe(*copies, groups=list(np.repeat(np.arange(20), 10)))
    assert grouped.partial == pytest.approx(once.partial)
    assert grouped.interval.width == pytest.approx(once.interval.width, rel=0.05)
    assert length_probe(*copies).interval.width < 0.5 * once.interval.width


@pytest.mark.parametrize("groups", [1, 2, 5, 6, 12])
def test_fewer_than_six_groups_allow_no_interval(groups: int) -> None:
    projection, tokens, outcome = mixed()
    found = length_probe(projection, tokens, outcome, groups=[number % groups for number in range(60)])
    assert math.isfinite(found.partial)
    assert math.isnan(found.interval.width) == math.isnan(found.usable) == (groups < 6)


def test_fewer_than_six_rows_allow_no_interval() -> None:
    five, six = (length_probe(*(column[:rows] for column in mixed())) for rows in (5, 6))
    assert math.isfinite(five.partial)
    assert math.isnan(five.interval.width)
    assert six.interval.width > 0


def rare(ones: int, rows: int = 40) -> list[NDArray[np.float64]]:
    """Columns whose outcome is 1 in ``ones`` rows: a resample without any has no partial correlation."""
    projection, tokens, _ = mixed(rows=rows)
    return [projection, tokens, (np.arange(rows) < ones).astype(float)]


def test_resamples_that_tell_nothing_are_counted_and_not_left_out_silently() -> None:
    """P(a row is not drawn) = (1 - 1/40)^40 = 0.363, of two rows (1 - 2/40)^40 = 0.129, of four 0.015."""
    for ones in (1, 2, 4):
        found = length_probe(*rare(ones), resamples=4000)
        assert math.isfinite(found.partial)
        assert found.usable == pytest.approx(1 - (1 - ones / 40) ** 40, abs=0.025)
        assert math.isnan(found.interval.width) == (found.usable < 0.95)
    assert found.usable > 0.95


def test_every_resample_of_enough_rows_is_usable() -> None:
    assert length_probe(*mixed(), resamples=200).usable == 1
    assert math.isnan(length_probe(*mixed()[:2]).usable)


def test_length_probe_is_the_same_again_and_depends_on_the_seed() -> None:
    columns = mixed()
    assert length_probe(*columns, resamples=50) == length_probe(*columns, resamples=50)
    assert length_probe(*columns, resamples=50) != length_probe(*columns, resamples=50, seed=1)


@pytest.mark.parametrize("column", [0, 1, 2])
def test_a_constant_column_tells_nothing(column: int) -> None:
    columns = list(mixed())
    columns[column] = np.full(60, 0.1)
    found = length_probe(*columns, resamples=20)
    assert math.isnan(found.partial)
    assert math.isnan(found.interval.low)
    assert math.isnan(found.r2) == math.isnan(found.spearman) == (column < 2)
    assert math.isnan(found.correlation) == (column != 1)


def test_length_alone_leaves_no_partial_correlation() -> None:
    _, tokens, outcome = mixed()
    found = length_probe(3 - 2 * tokens, tokens, outcome, resamples=20)
    assert found.r2 == pytest.approx(1)
    assert found.spearman == pytest.approx(-1)
    assert math.isnan(found.partial)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_too_few_rows(rows: int) -> None:
    found = length_probe(np.arange(rows), np.arange(rows) ** 2, np.arange(rows)[::-1])
    assert found.rows == rows
    assert all(math.isnan(value) for value in (found.r2, found.spearman, found.correlation, found.partial))


def test_no_outcome() -> None:
    projection, tokens, _ = mixed()
    found = length_probe(projection, tokens)
    assert found.r2 > 0
    assert math.isnan(found.correlation)
    assert math.isnan(found.partial)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([1, 2, 3], [1, 2]), "same number of rows"),
        (([1, np.nan, 3], [1, 2, 3]), "projections hold NaN or infinity, first in row 2"),
        (([1, 2, 3], [1, 2, np.inf]), "numbers of tokens hold NaN"),
        (([1, 2, 3], [1, 2, 3], [[1], [2], [3]]), "outcomes have shape"),
    ],
)
def test_bad_columns(columns: Any, message: str) -> None:
    with pytest.raises(RingfenceError, match=message):
        length_probe(*columns)


def test_bad_groups() -> None:
    with pytest.raises(RingfenceError, match="same number of rows"):
        length_probe([1, 2, 3], [1, 2, 4], [1, 0, 1], groups=["a"])


# --- stability ----------------------------------------------------------------------------------------------


def test_cosines_by_hand() -> None:
    found = cosines([[1, 0], [3, 4], [0, -2], [0, 0]])
    np.testing.assert_allclose(found[:3, :3], [[1, 0.6, 0], [0.6, 1, -0.8], [0, -0.8, 1]], atol=1e-12)
    assert np.isnan(found[3]).all()
    assert np.isnan(found[:, 3]).all()


def test_resampled_against_a_naive_bootstrap() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(0.7, 1, (25, 6)), generator.normal(size=(15, 6))
    full, found = a.mean(0) - b.mean(0), []
    for _ in range(2000):
        one = a[generator.integers(25, size=25)].mean(0) - b[generator.integers(15, size=15)].mean(0)
        found.append(one @ full / np.linalg.norm(one) / np.linalg.norm(full))
    stability = resampled(a, b, 2000)
    assert stability.mean == pytest.approx(np.mean(found), abs=0.01)
    assert stability.low == pytest.approx(np.quantile(found, 0.025), abs=0.03)
    assert stability == resampled(a, b, 2000)


def test_resampled_without_spread_is_certain() -> None:
    found = resampled([[1.0, 0.0]] * 5, [[0.0, 1.0]] * 4, 20)
    assert found.mean == pytest.approx(1)
    assert found.low == pytest.approx(1)


def test_resampled_needs_two_rows() -> None:
    found = resampled([[1.0, 0.0]], [[0.0, 1.0]] * 4, 20)
    assert math.isnan(found.mean)
    assert math.isnan(found.low)


def test_anchors() -> None:
    """Centroids 0, x and x + y: A - B = -x, A - C = -(x + y), B - C = -y."""
    names, found = anchors({"A": [[0.0, 0.0]], "B": [[1.0, 1.0], [1.0, -1.0]], "C": [[1.0, 1.0]]})
    assert names == ["A - B", "A - C", "B - C"]
    half = math.sqrt(0.5)
    np.testing.assert_allclose(found, [[1, half, 0], [half, 1, half], [0, half, 1]], atol=1e-6)
    with pytest.raises(RingfenceError, match="between two sets, and there are 1"):
        anchors({"A": [[0.0]]})
