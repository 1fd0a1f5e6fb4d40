"""Clusters of an index's items by k-means or HDBSCAN, their agreement with a column, and the column that stores them.

Letters: N items, D dimension, K clusters. A label is the number of a cluster, 0 for the largest; -1 is in no cluster.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..blas import one_blas_thread
from ..errors import UsageError
from ..index.backends.base import Row
from ..index.backends.encoding import RESERVED_COLUMNS
from ..index.index import Index
from ..values import explode, key

Labels = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]

HDBSCAN_DIMS = 16  # principal components: with more dimensions, all distances become about equal
HDBSCAN_MAX_ITEMS = 20_000  # time grows with the square of their number
MAX_NOISE = 0.25  # share of items that HDBSCAN may leave in no cluster
MINIBATCH_MIN_WORK = 4_000_000  # items x clusters above which k-means uses small batches
COVARIANCE_MAX_DIM = 1_024  # up to which PCA by the covariance matrix is the fastest
SILHOUETTE_MAX_ITEMS = 2_000
SILHOUETTE_CLUSTERS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20)
AMI_MAX_TABLE = 10_000_000  # entries of the contingency table
METRICS = ("purity", "homogeneity", "completeness", "v_measure", "ami")


@dataclass(frozen=True)
class Clusters:
    """Clusters of N items.

    Args:
        labels: (N,) the cluster of each item.
        method: a description for people.
    """

    labels: Labels
    method: str

    def __len__(self) -> int:
        return int(self.labels.max(initial=-1)) + 1


def cluster(
    vectors: Vectors,
    k: int | None = None,
    hdbscan_max_items: int = HDBSCAN_MAX_ITEMS,
    minibatch_min_work: int = MINIBATCH_MIN_WORK,
) -> Clusters:
    """Cluster vectors by Euclidean distance, which ranks as the cosine does if all have length 1.

    With `k`, k-means (Lloyd 1982; mini-batch k-means, Sculley 2010, for much data), the best of several starts. Without
    it, HDBSCAN (Campello, Moulavi and Sander 2013) over the first 16 principal components, which leaves items between
    the clusters in no cluster; of more than 20,000 items, a sample forms the clusters and the others follow their
    nearest neighbor in it. If HDBSCAN finds fewer than two clusters, or leaves out more than a quarter, k-means with
    the number up to 20 of the best silhouette (Rousseeuw 1987). Seeds are fixed and one thread works, so the same
    vectors give the same clusters.

    Args:
        vectors: (N, D), finite.
        k: number of clusters; as many as there are dense regions if None.
        hdbscan_max_items: number of items above which HDBSCAN sees a sample.
        minibatch_min_work: number of items times clusters above which k-means uses small batches.

    Raises:
        UsageError: k is not from 1 to N.
    """
    from threadpoolctl import threadpool_limits

    count = len(vectors)
    if k is not None and not 1 <= k <= count:
        raise UsageError("k", f"must be between 1 and {count}, the number of items, got {k}", "choose another number")
    with one_blas_thread(), threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct vectors than clusters, or all of them equal
        if k is not None:
            method = "k-means in small batches" if count * k > minibatch_min_work else "k-means"
            clusters = _renumber_by_size(_kmeans(vectors, k, minibatch_min_work), method)
            note = f", but only {len(clusters)} of {k} clusters have items" if len(clusters) < k else ""
            return Clusters(clusters.labels, clusters.method + note)
        labels, method = _hdbscan(vectors, hdbscan_max_items)
        if labels.max(initial=-1) >= 1 and (labels < 0).mean() <= MAX_NOISE:
            return _renumber_by_size(labels, method)
        labels = _kmeans(vectors, _choose_k(vectors), minibatch_min_work)
        method = "k-means with the best silhouette of 2 to 20, as few items lie in dense regions"
        return _renumber_by_size(labels, method)


def pca(vectors: Vectors, dims: int) -> tuple[Vectors, float]:
    """Return the first principal components (N, dims), padded with zeros, and their share of the variance."""
    from sklearn.decomposition import PCA

    components = np.zeros((len(vectors), dims), np.float32)
    if len(vectors) < 2:
        return components, 0.0
    solver = "covariance_eigh" if vectors.shape[1] <= COVARIANCE_MAX_DIM else "randomized"
    with np.errstate(invalid="ignore", divide="ignore"):  # the variance may be 0
        fitted = PCA(min(dims, *vectors.shape), svd_solver=solver, random_state=0).fit(vectors)
    points = fitted.transform(vectors)
    components[:, : points.shape[1]] = points
    return components, float(np.nan_to_num(fitted.explained_variance_ratio_).sum())


def centroids(vectors: Vectors, labels: Labels) -> npt.NDArray[np.float64]:
    """Return the means of the clusters, (K, D)."""
    from scipy.sparse import csr_array

    inside = np.flatnonzero(labels >= 0)
    count = int(labels.max(initial=-1)) + 1
    sizes = np.bincount(labels[inside], minlength=count)
    weights = 1 / sizes[labels[inside]]
    return np.asarray(csr_array((weights, (labels[inside], inside)), shape=(count, len(labels))) @ vectors)


def medoids(vectors: Vectors, labels: Labels) -> list[int]:
    """Return for each cluster the position of the item nearest to its mean."""
    positions = []
    for label, mean in enumerate(centroids(vectors, labels)):
        inside = np.flatnonzero(labels == label)
        positions.append(int(inside[np.square(vectors[inside] - mean).sum(1).argmin()]))
    return positions


def agreement(labels: Labels, cells: Sequence[Any], permutations: int = 10) -> dict[str, Any]:
    """Return how well clusters agree with the cells of a column.

    `purity` (the share of items that have their cluster's most frequent cell), `homogeneity`, `completeness` and their
    harmonic mean `v_measure` (Rosenberg and Hirschberg 2007), `ami`, adjusted mutual information (Vinh, Epps and Bailey
    2010; None if it needs a table of more than 10 million entries). Items without a cell do not count. Items in no
    cluster count as one more cluster, so that leaving items out does not pay. An item whose cell is a list counts once
    for each element, so no clustering reaches 1 on a column of lists.

    Args:
        labels: (N,).
        cells: N cells.
        permutations: number of seeded shuffles of the labels, for `chance`.

    Returns:
        `items`: number of items with a cell; `values`: number of distinct cells; `metrics`: for each its `value` and
        `chance`, the mean over the shuffles.

    Raises:
        UsageError: no item has a cell.
    """
    pairs = [(position, key(value)) for position, cell in enumerate(cells) for value in explode(cell)]
    if not pairs:
        raise UsageError("against", "no item has a cell in this column", "name another column")
    with_cell, owner = np.unique([position for position, _ in pairs], return_inverse=True)
    truth = np.unique(np.array([value for _, value in pairs]), return_inverse=True)[1]
    own, rng = labels[with_cell], np.random.default_rng(0)
    values = _measure_agreement(own[owner], truth)
    shuffled = [_measure_agreement(rng.permutation(own)[owner], truth) for _ in range(permutations)]
    chance = [None if value is None else float(np.mean(more)) for value, *more in zip(values, *shuffled, strict=True)]
    metrics = {
        name: {"value": value, "chance": expected}
        for name, value, expected in zip(METRICS, values, chance, strict=True)
    }
    return {"items": len(with_cell), "values": int(truth.max()) + 1, "metrics": metrics}


def write_column(index: Index, name: str, ids: Sequence[str], labels: Labels, names: Sequence[str]) -> None:
    """Store the names of clusters as a column of the rows, in one transaction; rows in no cluster lack it.

    The index remembers these names, so that a column is overwritten only if it holds nothing else.

    Args:
        index: the index.
        name: of the column.
        ids: N ids.
        labels: (N,).
        names: K names.

    Raises:
        UsageError: the rows have a column of this name from elsewhere, or the name is not allowed.
    """
    if not name.isprintable() or not name.strip() or set(name) & {'"', "\\"} or name in ("id", *RESERVED_COLUMNS):
        raise UsageError(name or '""', "a column cannot have this name", "use a plain word, such as cluster")
    values = {id: names[label] for id, label in zip(ids, labels.tolist(), strict=True) if label >= 0}
    index.write_clusters(name, values, names)


def carry_over(index: Index, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Copy the cluster columns stored in an index into rows that will replace its rows."""
    columns = list(index.info.clusters)
    if not columns:
        return [dict(row) for row in rows]
    stored = [index.row(row["id"]) if index.has(row["id"]) else {} for row in rows]
    clusters = [{name: old[name] for name in columns if name in old} for old in stored]
    return [{**cells, **row} for cells, row in zip(clusters, rows, strict=True)]


def _renumber_by_size(labels: Labels, method: str) -> Clusters:
    """Number clusters by size, and those of the same size by their first items."""
    kinds, first, sizes = np.unique(labels[labels >= 0], return_index=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    number = np.full(int(labels.max(initial=-1)) + 2, -1, np.int64)  # the last entry is that of label -1
    number[kinds[order]] = np.arange(len(order))
    return Clusters(number[labels], method)


def _kmeans(vectors: Vectors, k: int, minibatch_min_work: int = MINIBATCH_MIN_WORK) -> Labels:
    from sklearn.cluster import KMeans, MiniBatchKMeans

    work = len(vectors) * k
    if work > minibatch_min_work:
        model = MiniBatchKMeans(k, n_init=3, batch_size=4_096, random_state=0)
    else:
        model = KMeans(k, n_init=10 if work < MINIBATCH_MIN_WORK / 20 else 3, random_state=0)
    return np.asarray(model.fit_predict(vectors), np.int64)


def _hdbscan(vectors: Vectors, max_items: int) -> tuple[Labels, str]:
    """Return labels (N,), -1 for noise, and a description of the method."""
    from sklearn.cluster import HDBSCAN
    from sklearn.neighbors import NearestNeighbors

    points, method = vectors, "HDBSCAN"
    if vectors.shape[1] > HDBSCAN_DIMS:
        points, share = pca(vectors, HDBSCAN_DIMS)
        method += f" over {points.shape[1]} principal components ({share:.0%} of the variance)"
    count = len(points)
    sample = np.arange(count)
    if count > max_items:
        sample = np.sort(np.random.default_rng(0).choice(count, max_items, replace=False))
        method += f" of {max_items:,} items; the others follow their nearest neighbor"
    min_cluster_size = max(5, round(float(np.sqrt(len(sample)))))
    labels = np.full(count, -1, np.int64)
    if min_cluster_size > len(sample):
        return labels, method
    model = HDBSCAN(min_cluster_size=min_cluster_size, min_samples=3, copy=True)
    labels[sample] = np.maximum(np.asarray(model.fit_predict(points[sample]), np.int64), -1)
    rest = np.setdiff1d(np.arange(count), sample, assume_unique=True)
    if len(rest):
        nearest = NearestNeighbors(n_neighbors=1).fit(points[sample])
        labels[rest] = labels[sample[nearest.kneighbors(points[rest], return_distance=False)[:, 0]]]
    return labels, method


def _choose_k(vectors: Vectors) -> int:
    """Return the number of clusters with the best silhouette on a sample."""
    from sklearn.metrics import silhouette_score

    rng, count, sample = np.random.default_rng(0), len(vectors), vectors
    if count > SILHOUETTE_MAX_ITEMS:
        sample = vectors[np.sort(rng.choice(count, SILHOUETTE_MAX_ITEMS, replace=False))]
    scores = {1: 0.0}
    for k in SILHOUETTE_CLUSTERS:
        if k < len(sample):
            labels = _kmeans(sample, k)
            if 1 < len(np.unique(labels)) < len(sample):
                scores[k] = float(silhouette_score(sample, labels))
    return max(scores, key=lambda k: scores[k])


def _measure_agreement(labels: Labels, truth: npt.NDArray[np.intp]) -> list[float | None]:
    """Return the values of `METRICS`."""
    from sklearn.metrics import adjusted_mutual_info_score, homogeneity_completeness_v_measure
    from sklearn.metrics.cluster import contingency_matrix

    table = contingency_matrix(truth, labels, sparse=True)
    purity = float(table.max(0).sum() / len(truth))
    fits = table.shape[0] * table.shape[1] <= AMI_MAX_TABLE
    ami = float(adjusted_mutual_info_score(truth, labels)) if fits else None
    return [purity, *map(float, homogeneity_completeness_v_measure(truth, labels)), ami]
