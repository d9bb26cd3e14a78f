"""One row from each cluster, on vectors made so that the clusters are known, and on the tiny model's own."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from threadpoolctl import threadpool_limits

from candidates import Table, candidate, context, nobody
from ringfence.core.errors import RingfenceError
from ringfence.directions.representations import default_layer, representations
from ringfence.select.base import STEPS, Context
from ringfence.select.steps import diverse
from ringfence.select.steps.diverse import Diverse, clusters


def blobs(sizes, width=3, spread=0.01):
    """(rows, width) around as many corners of a grid, and the corner of each row, in a mixed order."""
    random = np.random.Generator(np.random.Philox(1))
    corner = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    places = random.permutation(5**width)[: len(sizes)]
    grid = np.stack(np.unravel_index(places, (5,) * width), axis=1)
    return (grid[corner] + spread * random.standard_normal((len(corner), width))).astype(np.float32), corner


def table(vectors, part=3):
    return Table([candidate(index, embedding=vector) for index, vector in enumerate(vectors)], part)


def gather(vectors, count, seed=0, part=3):
    return Diverse(count=count).gather(table(vectors, part), Context(seed=seed))


@pytest.mark.parametrize("seed", range(3))
def test_each_blob_gives_the_row_nearest_to_its_middle(seed: Any) -> None:
    vectors, corner = blobs([30, 5, 12, 1])
    found = gather(vectors, 4, seed)
    scaled = (vectors - vectors.mean(axis=0)) / vectors.std(axis=0)
    expected = []
    for one in range(4):
        inside = np.flatnonzero(corner == one)
        middle = scaled[inside].mean(axis=0)
        expected.append(inside[np.argmin(((scaled[inside] - middle) ** 2).sum(axis=1))])
    assert found.keep.tolist() == sorted(expected)
    assert len(set(zip(corner.tolist(), found.scores["cluster"].tolist(), strict=True))) == 4
    chosen = found.scores["cluster_distance"][found.keep]
    assert chosen.max() < found.scores["cluster_distance"].mean()
    assert found.report["clusters"] == 4


def test_a_large_dimension_does_not_hide_the_others() -> None:
    vectors, corner = blobs([10, 10, 10])
    noise = 1000 * np.random.Generator(np.random.Philox(2)).standard_normal((30, 1))
    found = gather(np.hstack([vectors, noise]).astype(np.float32), 6)
    assert set(corner[found.keep]) == {0, 1, 2}


@pytest.mark.parametrize("batch", [7, 4096])
def test_parts_and_threads_do_not_matter(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(diverse, "BATCH", batch)
    vectors, _ = blobs([9, 8, 7, 6], spread=0.3)
    whole = gather(vectors, 5, part=100)
    with threadpool_limits(limits=2):
        for part in (1, 4):
            found = gather(vectors, 5, part=part)
            assert found.keep.tolist() == whole.keep.tolist()
            assert all((found.scores[name] == whole.scores[name]).all() for name in whole.scores)


def test_the_seed_decides() -> None:
    vectors = np.random.Generator(np.random.Philox(3)).standard_normal((60, 4)).astype(np.float32)
    drawn = [gather(vectors, 10, seed).keep.tolist() for seed in (0, 1, 0)]
    assert drawn[0] == drawn[2] != drawn[1]


def test_copies_leave_clusters_empty_and_others_fill_up() -> None:
    """Two places, five rows asked for: each place gives one, then the larger one its next, in turn."""
    vectors = np.array([[0, 0]] * 6 + [[1, 1]] * 2, np.float32)
    found = gather(vectors, 5)
    assert found.keep.tolist() == [0, 1, 2, 6, 7]
    assert gather(vectors, 8).keep.tolist() == list(range(8))


def test_all_rows_the_same() -> None:
    assert len(set(gather(np.ones((5, 3), np.float32), 3).keep.tolist())) == 3


def test_mini_batches_come_near_to_plain_k_means(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inertia of batches of 50 against all rows at once by scikit-learn's exact k-means."""
    from sklearn.cluster import KMeans

    monkeypatch.setattr(diverse, "BATCH", 50)
    vectors, _ = blobs([60, 50, 40, 30, 20], spread=0.4)
    _, distance = clusters(lambda: iter([vectors]), 200, 5, 0)
    scaled = (vectors - vectors.mean(axis=0, dtype=np.float64)) / vectors.std(axis=0, dtype=np.float64)
    exact = KMeans(5, n_init=10, random_state=0).fit(scaled).inertia_
    assert exact <= (distance**2).sum() * 1.000001
    assert (distance**2).sum() < 1.25 * exact


def test_the_step_embeds_with_the_model_and_drops_what_it_cannot_read() -> None:
    rows = [candidate(index, "Yes.", "Is it " + "so " * (index + 1)) for index in range(5)]
    rows.append(candidate(5, "Yes.", "long " * 100))
    rows.append(candidate(6))
    rows[6].conversation["messages"] = rows[6].conversation["messages"][1:]
    shared, done = context(max_length=200), []
    found = Diverse(count=2).map(shared)(rows, done.append)
    assert [row.index for row in found.rows] == [0, 1, 2, 3, 4]
    assert sum(done) == 7
    assert [one.reason for one in found.dropped] == ["longer than 200 tokens", "no user turn"]
    layer = default_layer(shared.loaded.model)
    own = representations(shared.loaded, [row.conversation for row in rows[:5]], [layer], cache=None)[layer]
    np.testing.assert_allclose(np.stack([row.vectors["embedding"] for row in found.rows]), own, rtol=1e-5, atol=1e-6)
    parts = [Diverse(count=2).map(shared)(rows[:2], nobody), Diverse(count=2).map(shared)(rows[2:5], nobody)]
    again = [row.vectors["embedding"] for part in parts for row in part.rows]
    np.testing.assert_allclose(np.stack(again), own, rtol=1e-5, atol=1e-6)
    assert Diverse(count=2).gather(Table(found.rows), shared).keep.shape == (2,)
    assert list(Diverse(count=2).map(shared)(rows[6:], nobody).rows) == []


def test_fewer_rows_than_asked_for() -> None:
    with pytest.raises(RingfenceError, match="count: 4 rows are asked for, but 3 are left"):
        gather(np.eye(3, dtype=np.float32), 4)


@pytest.mark.parametrize("settings", [{}, {"count": 0}, {"count": 1, "method": "farthest"}, {"count": 1, "k": 2}])
def test_bad_settings_raise(settings: Any) -> None:
    with pytest.raises(ValidationError):
        Diverse(**settings)


def test_another_count_needs_no_new_vectors() -> None:
    one, other = Diverse(count=3), STEPS.parse({"diverse": {"count": 4}}, "steps.0")
    assert one.map_settings() == other.map_settings()
    assert one.map_settings() != Diverse(count=3, role="assistant").map_settings()
