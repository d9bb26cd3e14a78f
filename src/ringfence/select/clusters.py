"""Number of clusters in a set of vectors, by a stated rule.

Vectors are taken less their mean and scaled to length 1: hidden states share a large common part, and their lengths
say little about topics. k-means (scikit-learn) is run for every k from 2 to 20, but with fewer clusters than rows and
no more than there are different rows; the k with the highest mean silhouette (Rousseeuw 1987) is taken, the smallest of
equals. Rows that are all equal are one cluster. A silhouette takes two clusters: rows that differ are always split.
"""

import math

import numpy as np
from numpy.typing import NDArray

MOST = 20
FEWEST_ROWS = 4
SAMPLE = 5000  # rows that are clustered: the silhouette compares all pairs
STARTS = 5  # of k-means; the best is kept
NEGLIGIBLE = 1e-6  # of the largest number among the vectors: below it lie rounding errors


def clusters(vectors: NDArray[np.float32], seed: int = 0) -> NDArray[np.int64] | None:
    """(rows,) the cluster of each row of ``vectors``, the largest being 0; None with fewer than 4 rows.

    Of more than 5,000 rows as many are drawn by ``seed`` and clustered; the others go to the nearest centre.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    if len(vectors) < FEWEST_ROWS:
        return None
    rows = directions(vectors)
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(rows))
    sample = rows[np.sort(order[:SAMPLE])]
    labels, best = np.zeros(len(rows), dtype=np.int64), -math.inf
    for k in range(2, min(MOST, len(sample) - 1, len(np.unique(sample, axis=0))) + 1):
        model = KMeans(n_clusters=k, n_init=STARTS, random_state=seed).fit(sample)
        if (score := silhouette_score(sample, model.labels_)) > best:
            labels, best = model.predict(rows), score
    sizes = np.bincount(labels)
    return np.argsort(np.argsort(-sizes, kind="stable"))[labels].astype(np.int64)


def directions(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """The vectors less their mean, scaled to length 1, to 6 decimals; what is at the mean becomes 0."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    clear = lengths > NEGLIGIBLE * np.abs(vectors).max(initial=0.0)
    return np.divide(centred, lengths, out=np.zeros_like(centred), where=clear).round(6)
