"""Post-process search results: grouping, deduplication, diversification (MMR) and reciprocal rank fusion.

Letters: N rows, D dimension, P and Q items, T terms.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError, did_you_mean
from .backends.base import MAX_VECTOR_NORM, FieldInfo
from .search.base import Positions
from .vector_field import Floats, Keys, VectorField

DUPLICATE_DISTANCE = 0.0001  # the largest squared distance of duplicates of length 1: a cosine of .99995
DUPLICATE_DISTANCE_SAME_TITLE = 0.04  # the same of two items with one title: a cosine of .98
_FETCH_FACTOR = 4  # candidates fetched for each result, and again if they were too few
_DIVERSITY_CANDIDATES = 10  # candidates for each result that diversity chooses from
_RRF_CONSTANT = 60
_SAMPLE_ROWS = 10_000  # rows whose mean is taken


@dataclass(frozen=True)
class ResultOptions:
    """Options that choose the results among the nearest rows.

    Args:
        one_per: a column; at most one row is returned per value, and rows without a value are all different.
        diversity: from 0, the nearest rows, to 1, rows that differ most: maximal marginal relevance (Carbonell and
            Goldstein 1998) among ten times as many candidates as results.
        deduplicate: whether near-duplicates are one result: rows whose vectors are almost equal, or that have the same
            title and are near.
    """

    one_per: str | None = None
    diversity: float = 0.0
    deduplicate: bool = False

    def check(self, columns: Sequence[str]) -> None:
        """Raise UsageError if `one_per` is not a column, or `diversity` is outside [0, 1]."""
        if not 0 <= self.diversity <= 1:
            raise UsageError("diversity", f"must be between 0 and 1, got {self.diversity}", "choose another number")
        if self.one_per is None:
            return
        if self.one_per not in columns:
            raise UsageError("one_per", f"no row has the column {self.one_per}", did_you_mean(self.one_per, columns))
        if not re.fullmatch(r'[^"\\\x00-\x1f]+', self.one_per):  # as in a condition
            problem = "the name of this column holds a quote, a backslash or a control character"
            raise UsageError("one_per", problem, "rename the column")

    @property
    def is_default(self) -> bool:
        """Whether the results are simply the nearest rows."""
        return self.one_per is None and not self.diversity and not self.deduplicate


@dataclass(frozen=True)
class Candidate:
    """A position with its score, and the positions of its near-duplicates."""

    position: int
    score: float
    duplicates: tuple[int, ...] = ()


def normalize_query(query: npt.NDArray[np.floating[Any]], field: VectorField | FieldInfo) -> Floats:
    """A query (D,) in float64, of length 1 if the metric is cosine.

    Raises:
        UsageError: it is not a vector of this field.
    """
    vector = np.asarray(query, np.float64)
    if vector.shape != (field.dim,):
        raise UsageError("query", f"expected {field.dim} numbers, got the shape {vector.shape}", "embed it again")
    norm = float(np.sqrt(vector @ vector))
    if not norm <= MAX_VECTOR_NORM or (field.metric == "cosine" and norm == 0):
        raise UsageError("query", "the query vector is zero or not finite", "use another vector")
    return vector / norm if field.metric == "cosine" else vector


def blend(positive: Floats, negative: Floats) -> Floats:
    """One query (D,) for what is like the items `positive` (P, D) and unlike `negative` (Q, D).

    It is twice the mean of the former minus the mean of the latter, which is A + B - C for three items (3CosAdd of
    Mikolov et al. 2013), and the weights add up to 1, so that it is also a point of a Euclidean space.
    """
    if not len(negative):
        return np.asarray(positive.mean(0))
    return np.asarray(2 * positive.mean(0) - negative.mean(0))


def search(
    field: VectorField,
    query: Floats,
    k: int,
    allowed: Positions | None,
    exclude: Positions,
    selection: ResultOptions,
    group_codes: Callable[[str], Keys],
    queried: Positions,
) -> list[Candidate]:
    """The k best results for a query, or fewer if there are not enough.

    Args:
        field: what is searched.
        query: (D,), see `normalize_query`.
        k: the number of results.
        allowed: ascending positions; all if None.
        exclude: positions that are not wanted.
        selection: how results are chosen.
        group_codes: gives for a column codes (N,) that are equal where the cells are.
        queried: the positions of the rows that the query was made of; deduplicated results are without their
            near-duplicates.
    """

    def nearest(count: int) -> tuple[Positions, Floats]:
        positions, scores = field.nearest.search(query[None], count, allowed, [exclude])
        is_row = positions[0] >= 0
        return positions[0][is_row], scores[0][is_row]

    needed = k * _DIVERSITY_CANDIDATES if selection.diversity else k
    if selection.one_per is not None and (codes := group_codes(selection.one_per)).min(initial=0) >= 0:
        needed = min(needed, int(codes.max(initial=-1)) + 1)  # every row has a value: there are no more results
    fetch_k = needed * _FETCH_FACTOR if selection.one_per or selection.deduplicate else needed
    while True:
        positions, scores = nearest(fetch_k)
        candidates = _group_and_deduplicate(field, positions, scores, needed, selection, group_codes, queried)
        if len(candidates) >= needed or len(positions) < fetch_k:
            break
        fetch_k *= _FETCH_FACTOR
    return _mmr(field, candidates, k, selection.diversity)


def _group_and_deduplicate(
    field: VectorField,
    positions: Positions,
    scores: Floats,
    count: int,
    selection: ResultOptions,
    group_codes: Callable[[str], Keys],
    queried: Positions,
) -> list[Candidate]:
    """At most `count` results: one for each value of a column, and one for all near-duplicates."""
    if selection.one_per is not None:
        first = np.sort(np.unique(group_codes(selection.one_per)[positions], return_index=True)[1])
        positions, scores = positions[first], scores[first]
    if not selection.deduplicate:
        pairs = zip(positions[:count].tolist(), scores[:count].tolist(), strict=True)
        return [Candidate(position, score) for position, score in pairs]
    everything = np.concatenate([queried, positions])
    ranks = list(range(len(queried)))
    duplicates: dict[int, list[int]] = {}
    points, titles = unit_scaled(field, everything), group_codes("title")[everything]
    for rank in range(len(queried), len(everything)):
        distances = np.square(points[ranks] - points[rank]).sum(1)
        limits = np.where(titles[ranks] == titles[rank], DUPLICATE_DISTANCE_SAME_TITLE, DUPLICATE_DISTANCE)
        near = np.flatnonzero(distances <= limits)
        if len(near):
            duplicates.setdefault(ranks[near[0]], []).append(int(everything[rank]))
        elif len(ranks) < len(queried) + count:  # later rows may still be duplicates of those that are kept
            ranks.append(rank)
    return [
        Candidate(int(everything[at]), float(scores[at - len(queried)]), tuple(duplicates.get(at, ())))
        for at in ranks[len(queried) :]
    ]


def _mmr(field: VectorField, candidates: list[Candidate], k: int, diversity: float) -> list[Candidate]:
    """Choose k candidates by maximal marginal relevance."""
    if not diversity or len(candidates) <= 1:
        return candidates[:k]
    points = unit_scaled(field, np.array([candidate.position for candidate in candidates]))
    scores = np.array([candidate.score for candidate in candidates])
    relevance = (scores - scores.min()) / max(float(np.ptp(scores)), 1e-12)
    similarity = np.full(len(candidates), -np.inf)
    selected, is_left = [0], np.ones(len(candidates), bool)
    is_left[0] = False
    largest = max(float(np.square(points - points[0]).sum(1).max()), 1e-12)
    while len(selected) < min(k, len(candidates)):
        similarity = np.maximum(similarity, 1 - np.square(points - points[selected[-1]]).sum(1) / largest)
        marginal = (1 - diversity) * relevance - diversity * similarity
        selected.append(int(np.flatnonzero(is_left)[np.argmax(marginal[is_left])]))
        is_left[selected[-1]] = False
    return [candidates[rank] for rank in selected]


def nearest_terms(
    field: VectorField, positions: Positions, terms: Sequence[str], vectors: npt.NDArray[np.float32], n: int
) -> list[list[str]]:
    """For each row the n terms whose vectors (T, D) are nearest.

    With the metrics cosine and dot, rows and terms are centred by their means: otherwise a few terms near the middle
    would be nearest to everything (hubs; Radovanovic et al. 2010).
    """
    if not len(positions):
        return []
    points = field.take(positions)
    if field.metric == "euclidean":
        scores = 2 * points @ vectors.T - np.square(vectors).sum(1)
    else:
        sample = field.take(np.arange(0, len(field), max(1, len(field) // _SAMPLE_ROWS)))
        centred = vectors - vectors.mean(0)
        centred = centred / np.maximum(np.sqrt(np.square(centred).sum(1, keepdims=True)), 1e-9)
        scores = (points - sample.mean(0)) @ centred.T
    best = np.argpartition(-scores, n, 1)[:, :n] if n < len(terms) else np.tile(np.arange(len(terms)), (len(scores), 1))
    order = np.argsort(-np.take_along_axis(scores, best, 1), 1, kind="stable")
    return [[terms[number] for number in row] for row in np.take_along_axis(best, order, 1).tolist()]


def reciprocal_rank_fusion(rankings: Sequence[Keys], k: int) -> tuple[Keys, Floats]:
    """The k best keys of several rankings, best first, and their scores: the sum of 1 / (60 + rank).

    Cormack, Clarke and Buettcher 2009.
    """
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, key in enumerate(ranking.tolist(), 1):
            scores[key] = scores.get(key, 0.0) + 1 / (_RRF_CONSTANT + rank)
    best = sorted(scores, key=lambda key: -scores[key])[:k]
    return np.array(best, np.int64), np.array([scores[key] for key in best])


def unit_scaled(field: VectorField, positions: Positions) -> Floats:
    """The vectors (n, D) of rows in units in which distances compare: of length 1 on average."""
    points: Floats = field.take(positions) / field.rms_length
    return points
