"""Retrieval metrics of a task, with bootstrap intervals and chance levels.

Letters: Q queries, B queries of a block, C candidates, D dimension.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from ..blas import one_blas_thread
from ..errors import UsageError, UserError
from . import chance
from .intervals import Bootstrap, Metric
from .ranking import Float32s, Floats, Ints, Vectors, first_places, prepare, ranks, score
from .retrieval_task import RetrievalTask
from .scores import Scores

KNN = 5
MAX_K = 1_000_000  # hits that are counted
BLOCK_SCORES = 20_000_000  # of all threads, 160 MB in float64

Block = TypeVar("Block")


def evaluate(
    task: RetrievalTask,
    queries: Vectors,
    candidates: Vectors,
    metric: str,
    ks: Sequence[int] = (1, 5, 10),
    n_resamples: int = 1000,
    seed: int = 0,
    groups: Sequence[Any] | None = None,
    block_scores: int = BLOCK_SCORES,
) -> dict[str, Metric]:
    """Return the retrieval metrics of vectors on a task, each a mean over the queries.

    `hit@k`: whether one of the first k is relevant; `recall@k`: relevant ones among the first k, divided by the lesser
    of k and the number of relevant ones; `precision@k`: divided by k; `map`: mean average precision of the whole
    ranking; `ndcg@k`: normalized discounted cumulative gain (Järvelin and Kekäläinen 2002); `knn@5`: whether most of
    the five nearest have the query's label, a tie being decided by the nearest (only if the task has labels that vote).

    Scores are computed in float64, and count as tied if they are equal in float32. Ties are broken by a fixed
    pseudo-random order of the candidates, so that a model that gives everything the same vector reaches chance, not 1.

    Args:
        task: the queries, the candidates and which of these are relevant.
        queries: (Q, D) vectors of `task.queries`.
        candidates: (C, D) vectors of `task.candidates`.
        metric: `cosine`, `dot` or `euclidean`.
        ks: the values of k.
        n_resamples: number of bootstrap resamples of the queries.
        seed: of the resamples.
        groups: (Q,) the group of each query (a user, an artist); resamples then draw whole groups.
        block_scores: number of scores computed at once.

    Returns:
        For each metric its `value`; `low` and `high`, the 95 % percentile bootstrap interval, None for a single query
        or group; and `chance`, the exact expectation of a random ranking. All None without any query.

    Raises:
        UsageError: a k is less than 1.
        UserError: there is not one finite vector for each query and candidate.
    """
    scores = score_queries(task, queries, candidates, metric, ks, block_scores)
    return summarize(task, scores, ks, n_resamples, seed, groups)


def score_queries(
    task: RetrievalTask,
    queries: Vectors,
    candidates: Vectors,
    metric: str,
    ks: Sequence[int] = (1, 5, 10),
    block_scores: int = BLOCK_SCORES,
) -> Scores:
    """Return the metrics of each query; see `evaluate`."""
    if not ks or min(ks) < 1:
        raise UsageError("k", f"must be at least 1, got {list(ks)}", "use positive whole numbers")
    if max(ks) > MAX_K:
        raise UsageError("k", f"must be at most {MAX_K:,}, got {max(ks)}", "use a smaller number")
    for count, vectors in ((len(task.queries), queries), (len(task.candidates), candidates)):
        if vectors.ndim != 2 or len(vectors) != count or not np.isfinite(vectors).all():
            wrong = f"needs one finite vector for each of {count} cells, got an array of shape {vectors.shape}"
            raise UserError(f"{task.query} to {task.target}", wrong, "embed the cells of this task")
    names = [f"{name}@{k}" for name in ("hit", "recall", "precision") for k in ks]
    names += ["map", *(f"ndcg@{k}" for k in ks)] + ([f"knn@{KNN}"] if task.labels is not None else [])
    if not task.queries:
        return Scores(names, np.empty((0, len(names))))
    return Scores(names, _measure(task, queries, candidates, metric, ks, max(1, block_scores // len(candidates))))


def summarize(
    task: RetrievalTask,
    scores: Scores,
    ks: Sequence[int] = (1, 5, 10),
    n_resamples: int = 1000,
    seed: int = 0,
    groups: Sequence[Any] | None = None,
) -> dict[str, Metric]:
    """Return the means of the scores of all queries, with their intervals and chance levels; see `evaluate`."""
    if not task.queries:
        return {name: dict.fromkeys(("value", "low", "high", "chance")) for name in scores.names}
    per_query = scores.values
    bootstrap = Bootstrap(len(per_query), groups, n_resamples, seed)
    resampled = [weights @ per_query / weights.sum() for weights in bootstrap.weights()]
    return bootstrap.metrics(scores.names, per_query.mean(0).tolist(), resampled, _expect(task, ks).mean(0).tolist())


def nearest_candidates(
    task: RetrievalTask, queries: Vectors, candidates: Vectors, metric: str, block_scores: int = BLOCK_SCORES
) -> Ints:
    """Return (Q,) the candidate that each query ranks first; see `evaluate`."""
    ranking = _Ranking(task, queries, candidates, metric)
    first = [block.argmax(1) for block in ranking.blocks(lambda _, scores: scores, block_scores // len(candidates))]
    return np.asarray(ranking.shuffled[np.concatenate(first)])


def report(metrics: dict[str, Metric], task: RetrievalTask) -> dict[str, Any]:
    """Return metrics together with the numbers of queries, of queries without a relevant candidate, and candidates."""
    return {
        "metrics": metrics,
        "queries": len(task.queries),
        "unanswerable": task.unanswerable,
        "pool": len(task.candidates),
    }


class _Ranking:
    """The scores of all candidates for each query, where ties are in a fixed pseudo-random order.

    Args:
        task: see `evaluate`.
        queries: see `evaluate`.
        candidates: see `evaluate`.
        metric: see `evaluate`.
    """

    def __init__(self, task: RetrievalTask, queries: Vectors, candidates: Vectors, metric: str) -> None:
        self.shuffled = np.random.default_rng(0).permutation(len(candidates))  # breaks ties
        self.position = np.argsort(self.shuffled)
        self._queries, self._candidates = prepare(queries, candidates[self.shuffled], metric)
        self._own, self._excluded, self._metric = task.self_candidate, task.excluded, metric

    def blocks(self, function: Callable[[int, Float32s], Block], size: int) -> Iterator[Block]:
        """`function(start, scores)` of some queries at a time, on all processors.

        The scores (B, C) are in the order of `shuffled`, and minus infinity for candidates that are not ranked.
        """
        threads = os.cpu_count() or 1
        size = max(1, min(size, len(self._queries)) // threads)
        with one_blas_thread(), ThreadPoolExecutor(threads) as pool:  # numpy computes without the GIL
            starts = range(0, len(self._queries), size)
            yield from pool.map(lambda start: function(start, self._score(start, start + size)), starts)

    def _score(self, start: int, stop: int) -> Float32s:
        scores = score(self._queries[start:stop], self._candidates, self._metric)
        own = self._own[start:stop]
        with_own = np.flatnonzero(own >= 0)
        scores[with_own, self.position[own[with_own]]] = -np.inf
        for n, excluded in enumerate(self._excluded[start:stop] if self._excluded is not None else ()):
            scores[n, self.position[excluded]] = -np.inf
        return scores


def _measure(
    task: RetrievalTask, queries: Vectors, candidates: Vectors, metric: str, ks: Sequence[int], block: int
) -> Floats:
    """Return the metrics of each query, (Q, number of metrics)."""
    ranking = _Ranking(task, queries, candidates, metric)
    labels = None if task.labels is None else task.labels[ranking.shuffled]
    discount, ideal = 1 / np.log2(np.arange(2, max(ks) + 2)), chance.ideal_dcg(max(ks))

    def measure_block(start: int, scores: Float32s) -> Floats:
        count = len(scores)
        relevant = [ranking.position[task.relevant(start + n)] for n in range(count)]
        total = np.array([len(places) for places in relevant])
        row = np.repeat(np.arange(count), total)  # of all relevant candidates, best first
        rank = np.concatenate([np.sort(ranks(scores[n], places)) for n, places in enumerate(relevant)])
        hits_so_far = np.arange(len(row)) - np.repeat(np.cumsum(total) - total, total) + 1
        hits = np.stack([np.bincount(row[rank < k], minlength=count) for k in ks], 1)  # (B, k)
        gains = [np.bincount(row[rank < k], discount[rank[rank < k]], count) for k in ks]
        metrics = [hits > 0, hits / np.minimum(ks, total[:, None]), hits / np.array(ks)]
        metrics += [np.bincount(row, hits_so_far / (rank + 1)) / total]
        metrics += [gain / ideal[np.minimum(k, total)] for gain, k in zip(gains, ks, strict=True)]
        if labels is not None:
            nearest = np.stack([first_places(row_scores, KNN) for row_scores in scores])
            label = task.query_groups[task.query_offsets[start : start + count]]
            own = task.self_candidate[start : start + count]
            metrics += [_majority_label(labels[nearest], len(candidates) - (own >= 0)) == label]
        return np.column_stack(metrics)

    return np.concatenate(list(ranking.blocks(measure_block, block)))


def _majority_label(labels: Ints, pool: Ints) -> Ints:
    """Return (B,) the label that most of the neighbors (B, 5) have; a tie is decided by the nearest."""
    present = np.arange(labels.shape[1]) < pool[:, None]
    votes = ((labels[:, :, None] == labels[:, None, :]) & present[:, None, :]).sum(2) * present
    return np.take_along_axis(labels, votes.argmax(1)[:, None], 1)[:, 0]


def _expect(task: RetrievalTask, ks: Sequence[int]) -> Floats:
    """Return the chance level of the metrics of each query, in the order of `_measure`."""
    relevant = np.array([len(task.relevant(query)) for query in range(len(task.queries))])
    excluded = (task.self_candidate >= 0).astype(np.int64)
    if task.excluded is not None:
        pairs = zip(task.excluded, task.self_candidate, strict=True)
        excluded += np.array([int((positions != own).sum()) for positions, own in pairs])
    pool = len(task.candidates) - excluded
    hits = [chance.expected_hits(pool, relevant, k) for k in ks]
    metrics = [chance.expected_hit(pool, relevant, k) for k in ks]
    metrics += [expected / np.minimum(k, relevant) for expected, k in zip(hits, ks, strict=True)]
    metrics += [expected / k for expected, k in zip(hits, ks, strict=True)]
    metrics += [chance.expected_ap(pool, relevant), *(chance.expected_ndcg(pool, relevant, k) for k in ks)]
    if task.labels is not None:
        sizes = np.unique(task.labels, return_counts=True)[1]
        metrics += [chance.expected_knn_accuracy(pool, relevant, excluded, sizes, KNN)]
    return np.stack(metrics, 1)
