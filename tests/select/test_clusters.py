"""The number of clusters by silhouette."""

import numpy as np
import pytest
from numpy.typing import NDArray

from ringfence.select.clusters import clusters, directions


def groups(sizes: list[int], width: int = 12, spread: float = 0.02, seed: int = 0) -> NDArray[np.float32]:
    """``sizes[k]`` rows around the k-th axis, on top of a large part that all rows share."""
    generator = np.random.Generator(np.random.Philox(seed))
    rows = [np.eye(width)[k] + spread * generator.normal(size=(size, width)) for k, size in enumerate(sizes)]
    return (100 + np.concatenate(rows)).astype(np.float32)


def silhouette(rows: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Rousseeuw's mean of (b - a) / max(a, b), pair by pair; 0 for a row alone in its cluster."""
    values = []
    for i, row in enumerate(rows):
        distances = [float(np.linalg.norm(row - other)) for other in rows]
        own = [d for j, d in enumerate(distances) if labels[j] == labels[i] and j != i]
        if not own:
            values.append(0.0)
            continue
        a = float(np.mean(own))
        b = min(np.mean([d for j, d in enumerate(distances) if labels[j] == k]) for k in set(labels) - {labels[i]})
        values.append((b - a) / max(a, b))
    return float(np.mean(values))


@pytest.mark.parametrize("sizes", [[9, 7], [10, 8, 5], [12, 9, 7, 6, 4]])
def test_finds_the_groups_that_were_made(sizes: list[int]) -> None:
    found = clusters(groups(sizes))
    assert found is not None
    assert found.tolist() == [k for k, size in enumerate(sizes) for _ in range(size)]  # largest first


def test_no_other_number_has_a_higher_silhouette() -> None:
    from sklearn.cluster import KMeans

    vectors = np.random.Generator(np.random.Philox(3)).normal(size=(30, 3)).astype(np.float32)
    found = clusters(vectors)
    assert found is not None
    rows = directions(vectors)
    best = silhouette(rows, found)
    for k in range(2, 21):
        labels = KMeans(n_clusters=k, n_init=5, random_state=0).fit(rows).labels_
        assert silhouette(rows, labels) <= best + 1e-9


def test_does_not_depend_on_the_common_part_or_on_scale() -> None:
    vectors = groups([8, 6, 5])
    found = clusters(vectors)
    assert found is not None
    other = clusters(((vectors - 100) * 7 + 3).astype(np.float32))
    assert other is not None
    assert other.tolist() == found.tolist()


def test_equal_rows_are_one_cluster_and_few_rows_are_none() -> None:
    same = clusters(np.full((9, 5), 0.1, dtype=np.float32))
    assert same is not None
    assert same.tolist() == [0] * 9
    assert clusters(groups([3])) is None
    assert clusters(np.zeros((0, 4), dtype=np.float32)) is None


def test_more_equal_rows_than_different_ones() -> None:
    vectors = np.repeat(np.eye(3, dtype=np.float32), [4, 3, 2], axis=0)
    found = clusters(vectors)
    assert found is not None
    assert found.tolist() == [0] * 4 + [1] * 3 + [2] * 2


def test_a_large_set_is_clustered_by_a_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringfence.select.clusters.SAMPLE", 40)
    sizes = [60, 45, 30]
    found = clusters(groups(sizes))
    assert found is not None
    assert found.tolist() == [0] * 60 + [1] * 45 + [2] * 30
    assert clusters(groups(sizes)).tolist() == found.tolist()  # type: ignore[union-attr]


def test_directions_by_hand() -> None:
    vectors = np.array([[1, 0], [3, 0], [2, 5], [2, -5], [2, 0]], dtype=np.float32)
    assert directions(vectors).tolist() == [[-1, 0], [1, 0], [0, 1], [0, -1], [0, 0]]
