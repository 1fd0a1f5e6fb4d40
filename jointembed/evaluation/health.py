"""The health of vectors: collapse, hubs, the gap between modalities, alignment, duplicates and leakage.

Each check gives a number and a verdict. The thresholds lie between what healthy and broken vectors measure:
`tests/evaluation/test_health.py` makes eleven healthy kinds, with three seeds and two metrics each, which all pass, and
breaks vectors in one way at a time, which the check of that way reports. The highest healthy values were: mean cosine
.40, hubness 4.0 (5.8 with 2,000 vectors), variance in one dimension .38, uniformity -1.43; the lowest effective rank
was 2.00, of two dimensions. A trained space between two thresholds deserves a look, and not more.

Letters: N vectors, D dimensions, P pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .ranking import first_places, prepare, score

Vectors = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Verdict = Literal["ok", "warn", "fail"]

MAX_VECTORS = 2_000  # that are measured; of more, evenly spaced ones
MIN_VECTORS = 16  # fewer say nothing about a space
NEIGHBORS = 10  # of k-occurrence
NEAR = 1e-8  # squared distance of vectors that count as equal, as a share of the mean one from their mean
BLOCK = 512  # vectors whose distances are computed at once
DEAD = 0.01  # standard deviation of a dimension, as a share of that of the whole, below which it is dead


@dataclass(frozen=True)
class Check:
    """What a check has measured.

    Args:
        subject: the column, or the columns, that were measured.
        name: of the check.
        value: the number.
        warn: the threshold of a warning; None if there is only that of failure.
        fail: the threshold of failure; None if the check only warns.
        is_high_bad: whether numbers above the thresholds are bad, instead of those below.
        note: what the number means here.
    """

    subject: str
    name: str
    value: float
    warn: float | None
    fail: float | None
    is_high_bad: bool = True
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        """`fail`, `warn` or `ok`; a number that is not finite fails."""
        if not np.isfinite(self.value):
            return "fail"
        sign = 1 if self.is_high_bad else -1
        for threshold, verdict in ((self.fail, "fail"), (self.warn, "warn")):
            if threshold is not None and sign * self.value > sign * threshold:
                return "fail" if verdict == "fail" else "warn"
        return "ok"

    @property
    def thresholds(self) -> str:
        """The thresholds as text, such as `warn > 0.8, fail > 0.97`."""
        sign = ">" if self.is_high_bad else "<"
        parts = ("warn", self.warn), ("fail", self.fail)
        return ", ".join(f"{verdict} {sign} {threshold:.4g}" for verdict, threshold in parts if threshold is not None)


# -- measures ----------------------------------------------------------------------------------------------------------


def mean_cosine(vectors: Vectors) -> float:
    """The mean cosine between two of the vectors (N, D); that of vectors of length 0, which have collapsed, is 1."""
    unit, count = to_unit(vectors), len(vectors)
    if not unit.any():
        return 1.0
    return float((np.square(unit.sum(0)).sum() - np.square(unit).sum()) / (count * (count - 1)))


def effective_rank(vectors: Vectors) -> float:
    """The exponential of the entropy of the singular values of vectors (N, D) (Roy and Vetterli 2007)."""
    values = np.linalg.svd(np.asarray(vectors, np.float64), compute_uv=False)
    shares = values / max(values.sum(), 1e-30)
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def to_unit(vectors: Vectors) -> Floats:
    """Vectors (N, D) of length 1, in float64; those of length 0 stay."""
    wide = np.asarray(vectors, np.float64)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-30))


def neighbor_counts(scores: NDArray[np.float32], k: int = NEIGHBORS) -> Ints:
    """The k-occurrence (N,): among the k nearest of how many others each vector is, by scores (N, N)."""
    scores = scores.copy()
    np.fill_diagonal(scores, -np.inf)
    nearest = np.concatenate([first_places(row, k) for row in scores])
    return np.bincount(nearest, minlength=len(scores)).astype(np.int64)


def skewness(values: NDArray[Any]) -> float:
    """The third standardized moment: how far a distribution reaches above its mean; 0 if all values are equal."""
    centered = values - np.mean(values)
    deviation = float(np.sqrt(np.square(centered).mean()))
    return 0.0 if deviation < 1e-12 else float((centered**3).mean() / deviation**3)


def local_scaling(distances: Floats, k: int = NEIGHBORS) -> NDArray[np.float32]:
    """Scores (N, N) of squared distances, scaled by the distance of each vector's k-th neighbor.

    Zelnik-Manor and Perona 2004; against hubs Schnitzer et al. 2012, Local and Global Scaling Reduce Hubs in Space.
    """
    scale = np.sqrt(np.maximum(np.sort(distances, 1)[:, min(k, len(distances) - 1)], 1e-30))
    return np.asarray(-distances / (scale[:, None] * scale[None, :]), np.float32)


def uniformity(vectors: Vectors) -> float:
    """The log of the mean Gaussian potential between unit vectors (N, D), at t = 2 (Wang and Isola 2020).

    0 if all are equal, -4 in the limit of many dimensions if they are spread evenly.
    """
    distances = squared_distances(to_unit(vectors))
    upper = distances[np.triu_indices(len(distances), 1)]
    return float(np.log(np.exp(-2 * upper).mean()))


def squared_distances(vectors: Floats) -> Floats:
    """The squared Euclidean distances (N, N) between vectors (N, D)."""
    squares = np.square(vectors).sum(1)
    return np.asarray(np.maximum(squares[:, None] + squares - 2 * vectors @ vectors.T, 0))


# -- checks ------------------------------------------------------------------------------------------------------------


def check_vectors(subject: str, vectors: Vectors, metric: str) -> list[Check]:
    """Check the vectors of different cells: collapse, the spread of dimensions, hubs and uniformity.

    Hubness is the skewness of how often a vector is among the 10 nearest of the rest, and an anti-hub never is
    (Radovanovic et al. 2010).

    Args:
        subject: their column.
        vectors: (N, D) of different cells, N at least 16.
        metric: of the space: `cosine`, `dot` or `euclidean`.
    """
    broken = int((~np.isfinite(vectors).all(1)).sum())
    checks = [Check(subject, "vectors not finite", broken, None, 0, note="number")]
    vectors = sample(vectors[np.isfinite(vectors).all(1)])
    if len(vectors) < MIN_VECTORS:
        return checks
    wide = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(wide, axis=1)
    empty = float((lengths <= 1e-12).mean())
    checks.append(Check(subject, "vectors of length 0", empty, 0, 0.05, note="share"))
    centered = wide - wide.mean(0)
    if metric == "cosine":
        checks.append(Check(subject, "mean cosine", mean_cosine(wide), 0.8, 0.97, note="1: all equal"))
    else:  # lengths and the place of the origin count: compare the spread with the distance from the origin
        spread = np.square(centered).sum(1).mean() / max(np.square(wide).sum(1).mean(), 1e-30)
        checks.append(Check(subject, "spread about the mean vector", float(spread), 1e-3, 1e-6, False, "0: all equal"))
    dims = min(wide.shape[1], len(wide) - 1)
    unit = to_unit(wide) if metric == "cosine" else wide
    rank = effective_rank(unit - unit.mean(0))
    note = f"of {wide.shape[1]} dimensions, about the mean"
    checks.append(Check(subject, "effective rank", rank, min(2.0, 0.9 * dims), min(1.3, 0.9 * dims), False, note))
    variances = centered.var(0)
    whole = max(float(variances.mean()), 1e-30)
    dead = float((variances < DEAD**2 * whole).mean())
    checks.append(Check(subject, "dimensions without spread", dead, 0, 0.25, note="share"))
    if wide.shape[1] > 3:
        largest = float(variances.max() / max(variances.sum(), 1e-30))
        checks.append(Check(subject, "variance in one dimension", largest, 0.5, 0.9, note="share"))
    checks.append(_check_hubs(subject, wide, metric))
    if metric == "cosine":
        checks.append(
            Check(subject, "uniformity", uniformity(wide), -0.5, -0.1, note="log of the potential; 0: all equal")
        )
    return checks


def _check_hubs(subject: str, vectors: Floats, metric: str) -> Check:
    def skew(points: Floats) -> float:
        return skewness(neighbor_counts(score(*prepare(points, points, metric), metric)))

    counts = neighbor_counts(score(*prepare(vectors, vectors, metric), metric))
    basis = to_unit(vectors) if metric == "cosine" else vectors
    scaled = skewness(neighbor_counts(local_scaling(squared_distances(basis))))
    orphans = float((counts == 0).mean())
    note = (
        f"skewness of {NEIGHBORS}-occurrence; {orphans:.0%} anti-hubs; after centering "
        f"{skew(vectors - vectors.mean(0)):.1f}, local scaling {scaled:.1f}"
    )
    return Check(subject, "hubness", skewness(counts), 6, 8, note=note)


def check_pairs(subject: str, first: Vectors, second: Vectors, metric: str) -> list[Check]:
    """Check two columns of the same rows: the gap between them, and whether the pairs are nearer than other pairs.

    The modality gap is that of Liang et al. 2022, and alignment that of Wang and Isola 2020; both are divided by the
    spread about the means, and alignment leaves the gap out, so that one does not raise the alarm of the other.

    Args:
        subject: both columns.
        first: (P, D) vectors of a column, P at least 16.
        second: (P, D) vectors of the second column, row by row.
        metric: of the space.
    """
    both = np.concatenate([sample(first), sample(second)]).astype(np.float64)
    a, b = np.split(to_unit(both) if metric == "cosine" else both, 2)
    means = a.mean(0), b.mean(0)
    spread = float(np.square(a - means[0]).sum(1).mean() + np.square(b - means[1]).sum(1).mean())
    between = float(np.square(means[0] - means[1]).sum())
    note = "squared distance of the means, by the spread about them"
    checks = [Check(subject, "modality gap", between / max(spread, 1e-30), 0.5, 4, note=note)]
    near = float(np.square(a - b).sum(1).mean())
    apart = float(np.square(a - means[0] - b + means[1]).sum(1).mean())
    note = f"squared distance of pairs about the means, by that spread; with the gap {near:.3g}"
    checks.append(Check(subject, "alignment", apart / spread if spread > 1e-30 else 1.0, 0.9, 0.97, note=note))
    return checks


def check_duplicates(subject: str, vectors: Vectors, metric: str) -> Check:
    """Check how many cells share their vector with a different cell.

    Args:
        subject: the column.
        vectors: (N, D) of different cells.
        metric: of the space.
    """
    points = _points(vectors, metric)
    shared = float(_is_near(points, points, is_same=True).mean())
    note = f"share of {len(points):,} different cells"
    return Check(subject, "cells sharing a vector", shared, 0.05, 0.5, note=note)


def check_leakage(subject: str, is_training: NDArray[np.bool_], keys: Ints) -> list[Check]:
    """Check whether cells of held-out rows are among those of training rows.

    Args:
        subject: the column, which identifies a row or the group of a row; not one of labels.
        is_training: (N,).
        keys: (N,) equal for equal cells.
    """
    if not is_training.any() or is_training.all():
        return []
    is_known = np.isin(keys[~is_training], keys[is_training])
    return [
        Check(subject, "held-out cells in training", float(is_known.mean()), 0, 0.02, note="share of held-out rows")
    ]


def check_near_leakage(
    subject: str, is_training: NDArray[np.bool_], keys: Ints, vectors: Vectors, metric: str
) -> list[Check]:
    """Check whether held-out rows have the vectors of training rows with different cells; see `check_leakage`."""
    if not is_training.any() or is_training.all():
        return []
    points = _points(vectors, metric)
    is_known = np.isin(keys[~is_training], keys[is_training])
    near = _is_near(points[~is_training], points[is_training], is_same=False) & ~is_known
    name = "held-out vectors in training"
    return [Check(subject, name, float(near.mean()), 0.02, 0.2, note="share of held-out rows; of different cells")]


def _points(vectors: Vectors, metric: str) -> Floats:
    """Vectors whose squared distances are comparable: their mean square about the mean is 1."""
    wide = to_unit(vectors) if metric == "cosine" else np.asarray(vectors, np.float64)
    centered = wide - wide.mean(0)
    return np.asarray(centered / max(float(np.sqrt(np.square(centered).sum(1).mean())), 1e-15))


def _is_near(points: Floats, references: Floats, is_same: bool) -> NDArray[np.bool_]:
    """Whether a reference equals each point (N,); its own row does not count if both are the same array."""
    near = np.zeros(len(points), np.bool_)
    squares = np.square(references).sum(1)
    for start in range(0, len(points), BLOCK):
        block = points[start : start + BLOCK]
        distances = np.square(block).sum(1)[:, None] + squares - 2 * block @ references.T
        if is_same:
            distances[np.arange(len(block)), start + np.arange(len(block))] = np.inf
        near[start : start + BLOCK] = distances.min(1) <= NEAR
    return near


def sample(vectors: Vectors) -> Vectors:
    """At most 2,000 vectors, evenly spaced."""
    if len(vectors) <= MAX_VECTORS:
        return vectors
    return vectors[np.linspace(0, len(vectors) - 1, MAX_VECTORS).round().astype(np.int64)]
