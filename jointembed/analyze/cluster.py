"""Clusters of an index's items: k-means or HDBSCAN over the vectors, how well they agree with a column, and where kept.

Letters: N items, D dimension, K clusters. A label is the number of a cluster, 0 for the largest; -1 is in none.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..index import ids as names
from ..index.backends.rows import HIDDEN, Row, encode, fetch, note, update
from ..index.index import Index
from ..values import explode, key

Labels = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]

DIMS = 16  # principal components that HDBSCAN sees: in more of them everything is about equally far away
SAMPLE = 20_000  # items whose density is measured; time grows with their square
LEFT = 0.25  # the share of items that HDBSCAN may leave in no cluster
LARGE = 4_000_000  # items x clusters above which k-means goes by small batches
WIDEST = 1_024  # dimensions up to which a covariance matrix is the quicker way to principal components
FIGURES = ("purity", "homogeneity", "completeness", "v_measure", "ami")


@dataclass(frozen=True)
class Clusters:
    """What was found.

    Args:
        labels: (N,) the cluster of each item.
        how: by which method, in words.
    """

    labels: Labels
    how: str

    def __len__(self) -> int:
        return int(self.labels.max(initial=-1)) + 1


def clusters(vectors: Vectors, k: int | None = None) -> Clusters:
    """The clusters of vectors by Euclidean distance, which ranks as the cosine does where all have length 1.

    With `k`, k-means (Lloyd 1982; in small batches, Sculley 2010, if there is much to do), the best of several starts.
    Without it HDBSCAN (Campello, Moulavi and Sander 2013) over the first 16 principal components, which leaves what
    lies between the clusters in none; of more than 20,000 items, a sample makes the clusters and the others follow
    their nearest in it. Where that finds no two clusters, or leaves out more than a quarter, k-means takes the number
    up to 20 of the best silhouette (Rousseeuw 1987). One thread and fixed seeds: the same vectors give the same
    clusters.

    Args:
        vectors: (N, D), finite; as an index of that metric holds them.
        k: how many clusters; as many as there are dense places if not given.

    Raises:
        UsageError: k is not from 1 to N.
    """
    from threadpoolctl import threadpool_limits

    count = len(vectors)
    if k is not None and not 1 <= k <= count:
        raise UsageError("k", f"{count} items cannot make {k} clusters", f"use a whole number from 1 to {count}")
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct vectors than clusters, or all in one place: no news here
        if k is not None:
            found = _ordered(_means(vectors, k), "k-means in small batches" if count * k > LARGE else "k-means")
            fewer = f", but only {len(found)} of {k} clusters got items" if len(found) < k else ""
            return Clusters(found.labels, found.how + fewer)
        labels, how = _dense(vectors)
        if labels.max(initial=-1) >= 1 and (labels < 0).mean() <= LEFT:
            return _ordered(labels, how)
        labels = _means(vectors, _silhouette(vectors))
        return _ordered(labels, "k-means, 2 to 20 by the silhouette, as few items lie in dense places")


def principal(vectors: Vectors, dims: int) -> tuple[Vectors, float]:
    """The first principal components (N, dims), zeros where there are no more, and their share of the variance."""
    from sklearn.decomposition import PCA

    made = np.zeros((len(vectors), dims), np.float32)
    if len(vectors) < 2:
        return made, 0.0
    solver = "covariance_eigh" if vectors.shape[1] <= WIDEST else "randomized"
    with np.errstate(invalid="ignore", divide="ignore"):  # no variance at all
        fitted = PCA(min(dims, *vectors.shape), svd_solver=solver, random_state=0).fit(vectors)
    points = fitted.transform(vectors)
    made[:, : points.shape[1]] = points
    return made, float(np.nan_to_num(fitted.explained_variance_ratio_).sum())


def centres(vectors: Vectors, labels: Labels) -> npt.NDArray[np.float64]:
    """(K, D) the means of the clusters."""
    from scipy.sparse import csr_array

    inside = np.flatnonzero(labels >= 0)
    count = int(labels.max(initial=-1)) + 1
    sizes = np.bincount(labels[inside], minlength=count)
    weights = 1 / sizes[labels[inside]]
    return np.asarray(csr_array((weights, (labels[inside], inside)), shape=(count, len(labels))) @ vectors)


def central(vectors: Vectors, labels: Labels) -> list[int]:
    """Of each cluster the place of the item that is nearest to its mean."""
    means, found = centres(vectors, labels), []
    for label, mean in enumerate(means):
        inside = np.flatnonzero(labels == label)
        found.append(int(inside[np.square(vectors[inside] - mean).sum(1).argmin()]))
    return found


def agreement(labels: Labels, cells: Sequence[Any], permutations: int = 10) -> dict[str, Any]:
    """How well clusters agree with the cells of a column.

    `purity` (the share of items that have their cluster's commonest cell), `homogeneity`, `completeness` and their
    harmonic mean `v_measure` (Rosenberg and Hirschberg 2007), `ami`, adjusted mutual information (Vinh, Epps and Bailey
    2010; None where it would need a table of more than 10 million entries). Items without a cell do not count; those
    in no cluster count as one more cluster, so that leaving items out does not pay; one whose cell is a list counts
    once for each of its elements, so that no clustering reaches 1 on such a column.

    Args:
        labels: (N,).
        cells: N cells.
        permutations: how many times the labels are shuffled for `chance`, seeded.

    Returns:
        `items`: how many have a cell. `values`: how many different ones. `figures`: of each its `value` and `chance`,
        the mean over the shuffles.

    Raises:
        UsageError: no item has a cell.
    """
    pairs = [(place, key(one)) for place, cell in enumerate(cells) for one in explode(cell)]
    if not pairs:
        raise UsageError("against", "no item has a cell in this column", "name another column")
    there, owner = np.unique([place for place, _ in pairs], return_inverse=True)
    truth = np.unique(np.array([value for _, value in pairs]), return_inverse=True)[1]
    own, rng = labels[there], np.random.default_rng(0)
    value = _measured(own[owner], truth)
    shuffled = [_measured(rng.permutation(own)[owner], truth) for _ in range(permutations)]
    chance = [None if one is None else float(np.mean(more)) for one, *more in zip(value, *shuffled, strict=True)]
    figures = {name: {"value": one, "chance": two} for name, one, two in zip(FIGURES, value, chance, strict=True)}
    return {"items": len(there), "values": int(truth.max()) + 1, "figures": figures}


def keep(index: Index, name: str, ids: Sequence[str], labels: Labels, names: Sequence[str]) -> None:
    """Write the names of clusters as a column of the rows, in one transaction; rows in no cluster have no such cell.

    An index remembers the names that were given last, so that a column is written over only if nothing else is in it.

    Args:
        index: the index.
        name: of the column.
        ids: N ids.
        labels: (N,).
        names: K names.

    Raises:
        UsageError: the rows came with a column of this name, or it cannot be one.
    """
    if not name.isprintable() or not name.strip() or set(name) & {'"', "\\"} or name in ("id", *HIDDEN):
        raise UsageError(name or '""', "a column cannot be called so", "use a plain word, such as cluster")
    given = {id: names[label] for id, label in zip(ids, labels.tolist(), strict=True) if label >= 0}
    with index.writing() as db:
        own = json.loads(dict(db.execute("SELECT key, value FROM meta")).get("clusters", "{}"))
        numbers = [number for (number,) in db.execute("SELECT number FROM rows ORDER BY number")]
        for at in range(0, len(numbers), 4_096):
            rows = fetch(db, numbers[at : at + 4_096])
            if any(row.get(name) not in (None, *own.get(name, ())) for row in rows):
                raise UsageError(
                    name, "the rows have a column of this name of their own", "choose another --output-column"
                )
            fresh = [_with(row, name, given.get(row["id"])) for row in rows if row.get(name) != given.get(row["id"])]
            update(db, [(encode(row["id"]), row) for row in fresh])
        note(db, "columns", [name])
        about = json.dumps({**own, name: list(names)})
        db.execute("INSERT OR REPLACE INTO meta VALUES('clusters', ?)", (about,))


def kept(index: Index, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows that are about to be written over those of an index, with the clusters that it has of them."""
    own = json.loads(index.get_meta("clusters") or "{}")
    if not own:
        return [dict(row) for row in rows]
    with index.reading() as db:
        numbers = [number for row in rows if (number := names.number(db, row["id"])) is not None]
        told = {row["id"]: row for row in fetch(db, numbers)}
    old = [{name: cell for name, cell in told.get(row["id"], {}).items() if name in own} for row in rows]
    return [{**clusters, **row} for clusters, row in zip(old, rows, strict=True)]


def _with(row: dict[str, Any], name: str, value: str | None) -> dict[str, Any]:
    rest = {key: cell for key, cell in row.items() if key != name}
    return rest if value is None else {**rest, name: value}


def _ordered(labels: Labels, how: str) -> Clusters:
    """The clusters numbered by size, those of one size by their first items."""
    kinds, first, sizes = np.unique(labels[labels >= 0], return_index=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    new = np.full(int(labels.max(initial=-1)) + 2, -1, np.int64)  # the last place is that of -1
    new[kinds[order]] = np.arange(len(order))
    return Clusters(new[labels], how)


def _means(vectors: Vectors, k: int) -> Labels:
    from sklearn.cluster import KMeans, MiniBatchKMeans

    work = len(vectors) * k
    if work > LARGE:
        made = MiniBatchKMeans(k, n_init=3, batch_size=4_096, random_state=0)
    else:
        made = KMeans(k, n_init=10 if work < LARGE / 20 else 3, random_state=0)
    return np.asarray(made.fit_predict(vectors), np.int64)


def _dense(vectors: Vectors) -> tuple[Labels, str]:
    from sklearn.cluster import HDBSCAN
    from sklearn.neighbors import NearestNeighbors

    points, how = vectors, "HDBSCAN"
    if vectors.shape[1] > DIMS:
        points, share = principal(vectors, DIMS)
        how += f" over {points.shape[1]} principal components ({share:.0%} of the variance)"
    count = len(points)
    chosen = np.arange(count)
    if count > SAMPLE:
        chosen = np.sort(np.random.default_rng(0).choice(count, SAMPLE, replace=False))
        how += f" of {SAMPLE:,} items; the others follow their nearest"
    least = max(5, round(float(np.sqrt(len(chosen)))))
    if least > len(chosen):
        return np.full(count, -1), how
    labels = np.full(count, -1, np.int64)
    found = np.asarray(HDBSCAN(min_cluster_size=least, min_samples=3, copy=True).fit_predict(points[chosen]), np.int64)
    labels[chosen] = np.maximum(found, -1)
    rest = np.setdiff1d(np.arange(count), chosen, assume_unique=True)
    if len(rest):
        nearest = NearestNeighbors(n_neighbors=1).fit(points[chosen])
        labels[rest] = labels[chosen[nearest.kneighbors(points[rest], return_distance=False)[:, 0]]]
    return labels, how


def _silhouette(vectors: Vectors) -> int:
    from sklearn.metrics import silhouette_score

    rng, count = np.random.default_rng(0), len(vectors)
    part = vectors if count <= 2_000 else vectors[np.sort(rng.choice(count, 2_000, replace=False))]
    scores = {1: 0.0}
    for k in (2, 3, 4, 5, 6, 8, 10, 12, 16, 20):
        if k < len(part):
            labels = _means(part, k)
            if 1 < len(np.unique(labels)) < len(part):
                scores[k] = float(silhouette_score(part, labels))
    return max(scores, key=lambda k: scores[k])


def _measured(labels: Labels, truth: npt.NDArray[np.intp]) -> list[float | None]:
    from sklearn.metrics import adjusted_mutual_info_score, homogeneity_completeness_v_measure
    from sklearn.metrics.cluster import contingency_matrix

    table = contingency_matrix(truth, labels, sparse=True)
    purity = float(table.max(0).sum() / len(truth))
    small = table.shape[0] * table.shape[1] <= 10_000_000
    ami = float(adjusted_mutual_info_score(truth, labels)) if small else None
    return [purity, *(float(one) for one in homogeneity_completeness_v_measure(truth, labels)), ami]
