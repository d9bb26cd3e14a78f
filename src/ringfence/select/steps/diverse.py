"""Rows that are unlike each other: one from each of as many clusters as rows are asked for.

The vectors are scaled first (each dimension to mean 0 and variance 1 over the pool), since hidden states have a few
dimensions so large that the others would not count. Then k-means by scikit-learn, mini-batch by mini-batch over the
shards, with k-means++ centres from a sample of the pool, and the row nearest to each centre. Where a cluster ends up
empty, the next nearest rows of the largest clusters fill up, one a cluster in turn. No row is taken twice.

Vectors stay on disk: in memory are a batch, the sample, the centres, and two numbers a row.

Source: our own, as a baseline.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ringfence.select.base import STEPS, Context, Floats, Gathered, Table, require_enough
from ringfence.select.embeddings import VECTOR, Embedded

BATCH = 4096  # rows of a mini-batch, at least as many as clusters
PASSES = 10  # over the pool
Batches = Callable[[], Iterator[Floats]]


@STEPS.register("diverse")
class Diverse(Embedded):
    """Makes the columns ``cluster`` (from 0) and ``cluster_distance`` (to its centre, in standard deviations)."""

    count: int = Field(ge=1)
    """rows to choose, and clusters"""

    def gather(self, table: Table, context: Context) -> Gathered:
        """Raises :class:`RingfenceError` where there are too few rows."""
        require_enough(self.count, len(table), "count")
        cluster, distance = clusters(lambda: table.vectors(VECTOR), len(table), self.count, context.seed)
        order = _one_a_cluster(cluster, distance)
        report = {"clusters": len(np.unique(cluster)), "mean_distance": float(distance.mean())}
        scores = {"cluster": cluster.astype(np.float64), "cluster_distance": distance}
        return Gathered(np.sort(order[: self.count]), "like a chosen one", scores, report)


def clusters(
    parts: Callable[[], Iterator[NDArray[np.float32]]], rows: int, count: int, seed: int
) -> tuple[NDArray[np.int64], Floats]:
    """The cluster of each row, and its distance to that cluster's centre, by k-means with k = ``count``.

    ``parts()`` are the vectors, some rows at a time, in order; how they are cut does not matter. The same result for
    the same seed: one thread, since the order of sums over several decides about the last bits.
    """
    from sklearn.cluster import MiniBatchKMeans, kmeans_plusplus
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    size = max(BATCH, count)
    with threadpool_limits(limits=1):
        scaler = StandardScaler()
        for batch in _batches(parts(), size):
            scaler.partial_fit(batch)

        def scaled() -> Iterator[Floats]:
            return (scaler.transform(batch) for batch in _batches(parts(), size))

        drawn = np.random.Generator(np.random.Philox(seed)).permutation(rows)[:size]
        sample = _rows(scaled(), np.sort(drawn))
        centres, _ = kmeans_plusplus(sample, count, random_state=_state(seed))
        model = MiniBatchKMeans(count, init=centres, n_init=1, random_state=_state(seed), reassignment_ratio=0)
        for _ in range(PASSES):
            for batch in scaled():
                model.partial_fit(batch)
        far = (model.transform(batch) for batch in scaled())
        found = [(distances.argmin(axis=1), distances.min(axis=1)) for distances in far]
    cluster, distance = (np.concatenate(one) for one in zip(*found, strict=True))
    return cluster.astype(np.int64), distance


def _one_a_cluster(cluster: NDArray[np.int64], distance: Floats) -> NDArray[np.int64]:
    """All places: each cluster's nearest row, then each one's second, ...; larger clusters first, then nearer rows."""
    within = np.lexsort((np.arange(len(cluster)), distance, cluster))
    turn = np.empty(len(cluster), dtype=np.int64)
    _, first, sizes = np.unique(cluster[within], return_index=True, return_counts=True)
    turn[within] = np.arange(len(cluster)) - np.repeat(first, sizes)
    size = np.bincount(cluster)[cluster]
    return np.lexsort((np.arange(len(cluster)), distance, -size, turn))


def _batches(parts: Iterator[NDArray[np.float32]], size: int) -> Iterator[Floats]:
    """The same rows, ``size`` at a time but for the last; in float64, so that sums are exact enough."""
    waiting: list[NDArray[np.float32]] = []
    for part in parts:
        for start in range(0, len(part), size):
            waiting.append(part[start : start + size])
            if sum(map(len, waiting)) >= size:
                whole = np.concatenate(waiting)
                yield whole[:size].astype(np.float64)
                waiting = [whole[size:]]
    if rest := [part for part in waiting if len(part)]:
        yield np.concatenate(rest).astype(np.float64)


def _rows(batches: Iterator[Floats], places: NDArray[np.int64]) -> Floats:
    """The rows at ``places``, which ascend."""
    found, start = [], 0
    for batch in batches:
        inside = places[(places >= start) & (places < start + len(batch))] - start
        found.append(batch[inside])
        start += len(batch)
    return np.concatenate(found)


def _state(seed: int) -> Any:
    """scikit-learn knows Mersenne Twisters only; seeded by numpy's own mixing, for seeds of any size."""
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))
