"""What is asked of an index beside nearness: several items at once, variety, and ways from one item to another.

Letters: N rows, D dimension, C candidates, T steps of a way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError, did_you_mean
from .backends.meta import LONGEST
from .search.base import NearestNeighbors
from .search.exact import ExactSearch
from .search.vectors import Vectors

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
Labels = Callable[[str], npt.NDArray[np.int64]]

SAME = 0.0001  # the squared distance of two vectors of length 1 (cosine .99995) below which they are one thing
NAMED = 0.04  # the same (cosine .98) of two things of one title
AHEAD = 4  # candidates a wanted result, to begin with, where some are passed over
VARIED = 10  # candidates a wanted result among which a varied list is chosen
STEPS = 24  # candidates for each step of a way
FURTHEST = 1_000  # items of a way, of which each step has as many candidates


@dataclass(frozen=True)
class Selection:
    """How a list of results is chosen from those that are near.

    Args:
        per: the name of a cell of whose every value at most one row is wanted; rows without it are not alike.
        diverse: from 0, the nearest, to 1, those that differ most: maximal marginal relevance (Carbonell and
            Goldstein 1998), among ten times as many candidates as are wanted.
        distinct: near-duplicates are one result: rows whose vectors lie at the same place, or which have one title and
            lie near.
    """

    per: str | None = None
    diverse: float = 0.0
    distinct: bool = False

    def check(self, names: Sequence[str]) -> None:
        """Raise UsageError unless the rows have the cell and the share is one."""
        if not 0 <= self.diverse <= 1:
            raise UsageError("diverse", f"{self.diverse} is no share", "use a number from 0 to 1")
        if self.per is not None and self.per not in names:
            raise UsageError("per", f"no row has the column {self.per}", did_you_mean(self.per, names))
        if self.per is not None and not re.fullmatch(r'[^"\\\x00-\x1f]+', self.per):  # as in a condition
            raise UsageError(
                "per", "this column's name holds a quote, a backslash or a control sign", "rename the column"
            )

    @property
    def plain(self) -> bool:
        """Whether nothing but nearness is wanted."""
        return self.per is None and not self.diverse and not self.distinct


@dataclass(frozen=True)
class Found:
    """A position with its score, and the places that it stands for."""

    place: int
    score: float
    alike: tuple[int, ...] = ()


def vector(given: npt.NDArray[np.floating[Any]], vectors: Vectors) -> Floats:
    """A query (D,) as it is scored: of length 1 if the metric is cosine.

    Raises:
        UsageError: it is not a vector of this space.
    """
    query, width = np.asarray(given, np.float64), vectors.values.shape[1]
    if query.shape != (width,):
        raise UsageError("query", f"a vector of shape {query.shape} came", f"use one of {width} numbers")
    length = float(np.sqrt(query @ query))
    if not length <= LONGEST or (vectors.metric == "cosine" and length == 0):
        raise UsageError("query", "this vector has no direction or no end", "use a finite vector that is not zero")
    return query / length if vectors.metric == "cosine" else query


def blend(plus: Floats, minus: Floats) -> Floats:
    """One query (D,) for what is like all of `plus` (P, D) and not like `minus` (M, D): their mean, moved away.

    It is twice the mean of the one less the mean of the other, so that A + B - C is what it says (3CosAdd of Mikolov et
    al. 2013), and its parts add up to one, as places do.
    """
    if not len(minus):
        return np.asarray(plus.mean(0))
    return np.asarray(2 * plus.mean(0) - minus.mean(0))


def search(
    nearest: NearestNeighbors,
    vectors: Vectors,
    query: Floats,
    k: int,
    pool: Places | None,
    without: Places,
    wish: Selection,
    labels: Labels,
) -> list[Found]:
    """The k best for a query among the places of a pool, chosen as wished; fewer if there are not so many.

    Args:
        nearest: what is searched.
        vectors: its vectors.
        query: (D,), see `vector`.
        k: how many.
        pool: ascending places, all if None.
        without: places that are not wanted.
        wish: how they are chosen.
        labels: of the name of a cell, (N,) numbers that are equal where the cells are, and differ where there is none.
    """
    if wish.plain:
        places, scores = _nearest(nearest, query, k, pool, without)
        return [Found(place, score) for place, score in zip(places.tolist(), scores.tolist(), strict=True)]
    need = k * VARIED if wish.diverse else k
    if wish.per is not None and (groups := labels(wish.per)).min(initial=0) >= 0:  # no row is without the cell
        need = min(need, int(groups.max(initial=0)) + 1)
    ahead = need * AHEAD if wish.per or wish.distinct else need
    while True:
        places, scores = _nearest(nearest, query, ahead, pool, without)
        found = _merged(vectors, places, scores, need, wish, labels)
        if len(found) >= need or len(places) < ahead:
            break
        ahead *= AHEAD
    return _varied(vectors, found, k, wish.diverse)


def _nearest(
    nearest: NearestNeighbors, query: Floats, k: int, pool: Places | None, without: Places
) -> tuple[Places, Floats]:
    positions, scores = nearest.search(query[None], k, pool, [without])
    found = positions[0] >= 0
    return positions[0][found], scores[0][found]


def _merged(
    vectors: Vectors, places: Places, scores: Floats, need: int, wish: Selection, labels: Labels
) -> list[Found]:
    """At most `need` results: one for each value of a cell, and one for all near-duplicates of it."""
    if wish.per is not None:
        first = np.sort(np.unique(labels(wish.per)[places], return_index=True)[1])
        places, scores = places[first], scores[first]
    if not wish.distinct:
        return [Found(int(place), float(score)) for place, score in zip(places[:need], scores[:need], strict=True)]
    kept: list[int] = []
    alike: dict[int, list[int]] = {}
    points, titles = _points(vectors, places), labels("title")[places]
    for at in range(len(places)):
        apart = np.square(points[kept] - points[at]).sum(1)
        near = np.flatnonzero(apart <= np.where(titles[kept] == titles[at], NAMED, SAME))
        if len(near):
            alike.setdefault(kept[near[0]], []).append(int(places[at]))
        elif len(kept) < need:  # after that, what is alike to those that are kept may still come
            kept.append(at)
    return [Found(int(places[at]), float(scores[at]), tuple(alike.get(at, ()))) for at in kept]


def _varied(vectors: Vectors, found: list[Found], k: int, share: float) -> list[Found]:
    """K of the results: each time the one that is best and least like those chosen, weighed by a share."""
    if not share or len(found) <= 1:
        return found[:k]
    points = _points(vectors, np.array([one.place for one in found]))
    scores = np.array([one.score for one in found])
    nearness = (scores - scores.min()) / max(float(np.ptp(scores)), 1e-12)
    closeness = np.full(len(found), -np.inf)
    chosen, left = [0], np.ones(len(found), bool)
    left[0] = False
    wide = max(float(np.square(points - points[0]).sum(1).max()), 1e-12)
    while len(chosen) < min(k, len(found)):
        closeness = np.maximum(closeness, 1 - np.square(points - points[chosen[-1]]).sum(1) / wide)
        worth = (1 - share) * nearness - share * closeness
        chosen.append(int(np.flatnonzero(left)[np.argmax(worth[left])]))
        left[chosen[-1]] = False
    return [found[at] for at in chosen]


def described(
    items: Vectors, places: Places, words: Sequence[str], vectors: npt.NDArray[np.float32], n: int
) -> list[list[str]]:
    """Of each of some places the n of the words whose vectors (N, D) are nearest.

    With the metrics cosine and dot, things and words are taken from the means of theirs: else a few words that lie near
    the middle would be nearest to everything (hubs; Radovanovic et al. 2010).
    """
    if not len(places):
        return []
    points = items.values[places].astype(np.float64)
    if items.metric == "euclidean":
        scores = 2 * points @ vectors.T - np.square(vectors).sum(1)
    else:
        some = items.values[:: max(1, len(items) // 10_000)].astype(np.float64)
        centred = vectors - vectors.mean(0)
        centred = centred / np.maximum(np.sqrt(np.square(centred).sum(1, keepdims=True)), 1e-9)
        scores = (points - some.mean(0)) @ centred.T
    best = np.argpartition(-scores, n, 1)[:, :n] if n < len(words) else np.tile(np.arange(len(words)), (len(scores), 1))
    order = np.argsort(-np.take_along_axis(scores, best, 1), 1, kind="stable")
    return [[words[at] for at in row] for row in np.take_along_axis(best, order, 1).tolist()]


def fused(rankings: Sequence[npt.NDArray[np.int64]], k: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """The k best of what rankings name, the best first, and their scores: the sum of 1 / (60 + rank) over rankings.

    Reciprocal rank fusion (Cormack, Clarke and Buettcher 2009).
    """
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, one in enumerate(ranking.tolist(), 1):
            scores[one] = scores.get(one, 0.0) + 1 / (60 + rank)
    best = sorted(scores, key=lambda one: -scores[one])[:k]
    return np.array(best, np.int64), np.array([scores[one] for one in best])


def way(vectors: Vectors, start: int, end: int, count: int, pool: Places | None = None) -> list[int]:
    """Places of a way of `count` items from one to another, both included, whose steps are as even as can be had.

    The points that divide the line between the two evenly (the arc, if the metric is cosine) have their nearest items
    as candidates; of these a chain is chosen whose squared steps have the least sum (Viterbi 1967), which punishes a
    jump. No item comes twice.

    Args:
        vectors: where the items lie.
        start: the place of the first one.
        end: the place of the last one.
        count: items, from 2 on.
        pool: the places that the others may be of; all if None.
    """
    ends = vectors.values[[start, end]].astype(np.float64)
    allowed = np.arange(len(vectors)) if pool is None else pool
    allowed = np.setdiff1d(allowed, [start, end])
    inner = min(count - 2, len(allowed))
    layers, exact = [], ExactSearch(vectors.euclidean)
    for step in range(1, inner + 1):
        point = _between(ends[0], ends[1], step / (inner + 1), vectors.metric)
        layers.append(exact.search(point[None], max(STEPS, inner + 1), allowed)[0][0])
    while True:
        chain = _chain(vectors, start, end, layers)
        different, first, times = np.unique(chain, return_index=True, return_counts=True)
        if len(different) == len(chain):
            return [start, *chain, end]
        twice = different[times > 1]
        layers = [layer[~np.isin(layer, twice)] for layer in layers]
        for at in first[times > 1].tolist():  # each stays where it came first
            layers[at] = np.array([chain[at]])


def _chain(vectors: Vectors, start: int, end: int, layers: list[Places]) -> list[int]:
    if not layers:
        return []
    ends = _points(vectors, np.array([start, end]))
    points = [_points(vectors, layer) - ends[0] for layer in layers]  # so that products round little
    ends -= ends[0].copy()
    lengths = [np.square(one).sum(1) for one in points]
    cost, back = lengths[0], []
    for at in range(1, len(points)):
        steps = (cost + lengths[at - 1])[:, None] - 2 * points[at - 1] @ points[at].T + lengths[at]  # (C, C)
        back.append(steps.argmin(0))
        cost = steps.min(0)
    at = int((cost + np.square(points[-1] - ends[1]).sum(1)).argmin())
    chain = [int(layers[-1][at])]
    for layer, came in zip(layers[-2::-1], back[::-1], strict=True):
        at = int(came[at])
        chain.append(int(layer[at]))
    return chain[::-1]


def _between(one: Floats, other: Floats, share: float, metric: str) -> Floats:
    if metric == "cosine":
        angle = float(np.arccos(np.clip(one @ other, -1, 1)))
        if 1e-6 < angle < np.pi - 1e-6:
            return np.asarray((np.sin((1 - share) * angle) * one + np.sin(share * angle) * other) / np.sin(angle))
    return (1 - share) * one + share * other


def _points(vectors: Vectors, places: Places) -> Floats:
    """Vectors in units in which distances compare: of length 1 on the whole."""
    points = vectors.values[places].astype(np.float64)
    return points / vectors.rms_length
