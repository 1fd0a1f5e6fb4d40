"""How well one column finds another: retrieval figures with intervals, and what chance would reach.

Letters: Q queries, C candidates, D dimension, G groups of candidates, F figures.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..errors import UsageError, UserError
from . import chance
from .ranking import Floats, Ints, Vectors, points, ranked, scores
from .retrieval_task import Task

NEAREST = 5  # neighbours that vote
_BLOCK = 500_000  # scores at once: small enough that their memory is used again


def figures(
    task: Task,
    queries: Vectors,
    candidates: Vectors,
    metric: str,
    ks: Sequence[int] = (1, 5, 10),
    bootstrap: int = 1000,
    seed: int = 0,
    units: Sequence[Any] | None = None,
) -> dict[str, dict[str, float | None]]:
    """Retrieval figures of vectors on a task, each a mean over the queries.

    `hit@k`: one of the best k is right; `recall@k`: right ones among the best k, divided by the lesser of k and all
    that are right; `precision@k`: divided by k; `map`: mean average precision over the whole ranking; `ndcg@k`:
    normalised discounted cumulative gain (Järvelin and Kekäläinen 2002); `knn@5`: the label that most of the five
    nearest have, the nearest one's if there are several such, is the query's (only where the task has labels that
    vote).

    Scores are computed in float64, and those that are one float32 are a tie. Ties are broken by one fixed
    pseudo-random order of the candidates, so that a model that gives all things the same vector reaches chance, not 1.

    Args:
        task: what to find.
        queries: (Q, D) vectors of `task.queries`.
        candidates: (C, D) vectors of `task.candidates`.
        metric: `cosine`, `dot` or `euclidean`.
        ks: the k.
        bootstrap: resamples of the queries.
        seed: of the resamples.
        units: what each query belongs to (a user, an artist); resamples then draw these, each with all of its queries.

    Returns:
        For each figure its `value`; `low` and `high`, the 95 % percentile bootstrap interval over the queries, None for
        a single query; and `chance`, exactly what a random ranking is expected to reach. All None without any query.

    Raises:
        UsageError: a k is less than 1.
        UserError: there is not one finite vector for each query and candidate.
    """
    if not ks or min(ks) < 1:
        raise UsageError("k", f"{list(ks)} cannot be measured", "use whole numbers from 1 on")
    for count, vectors in ((len(task.queries), queries), (len(task.candidates), candidates)):
        if vectors.ndim != 2 or len(vectors) != count or not np.isfinite(vectors).all():
            wrong = f"not one finite vector for each of {count} cells, but an array of shape {vectors.shape}"
            raise UserError(f"{task.query} to {task.target}", wrong, "embed the cells of this task")
    names = [f"{name}@{k}" for name in ("hit", "recall", "precision") for k in ks]
    names += ["map", *(f"ndcg@{k}" for k in ks)] + (["knn@5"] if task.labels is not None else [])
    if not task.queries:
        return {name: dict.fromkeys(("value", "low", "high", "chance")) for name in names}
    each = _measured(task, queries, candidates, metric, ks)  # (Q, F)
    belongs = np.arange(len(each)) if units is None else np.unique([str(one) for one in units], return_inverse=True)[1]
    size, rng = int(belongs.max()) + 1, np.random.default_rng(seed)
    draws = (np.bincount(rng.integers(size, size=size), minlength=size)[belongs] for _ in range(bootstrap))
    means = [draw @ each / draw.sum() for draw in draws]
    ends = np.percentile(means, (2.5, 97.5), axis=0).tolist() if size > 1 else [[None] * len(names)] * 2
    columns = zip(each.mean(0).tolist(), *ends, _chance(task, ks).mean(0).tolist(), strict=True)
    known = (dict(zip(("value", "low", "high", "chance"), one, strict=True)) for one in columns)
    return dict(zip(names, known, strict=True))


def report(figures: dict[str, dict[str, float | None]], task: Task) -> dict[str, Any]:
    """Figures together with what they were measured on: queries, those without an answer, and the pool's size."""
    return {
        "figures": figures,
        "queries": len(task.queries),
        "unanswerable": task.unanswerable,
        "pool": len(task.candidates),
    }


def _measured(task: Task, queries: Vectors, candidates: Vectors, metric: str, ks: Sequence[int]) -> Floats:
    count = len(candidates)
    shuffled = np.random.default_rng(0).permutation(count)
    place = np.argsort(shuffled)
    asked, pool = points(queries, candidates[shuffled], metric)
    voters = None if task.labels is None else task.labels[shuffled]
    discount, ideal = 1 / np.log2(np.arange(2, max(ks) + 2)), chance.ideals(max(ks))
    step = max(1, _BLOCK // count)

    def block(at: int) -> Floats:
        scored = scores(asked[at : at + step], pool, metric)  # (B, C)
        own, right = task.own[at : at + step], np.zeros(scored.shape, np.bool_)
        mine = np.flatnonzero(own >= 0)
        scored[mine, place[own[mine]]] = -np.inf
        for nth in range(len(right)):
            right[nth, place[task.relevant(at + nth)]] = True
            if task.hidden is not None:
                scored[nth, place[task.hidden[at + nth]]] = -np.inf
        order = ranked(scored)
        row, rank = np.nonzero(np.take_along_axis(right, order, 1))  # of all that are right, the best first
        total = np.bincount(row)
        so_far = np.arange(len(row)) - np.repeat(np.cumsum(total) - total, total) + 1
        found = np.stack([np.bincount(row[rank < k], minlength=len(right)) for k in ks], 1)  # (B, k)
        gains = [np.bincount(row[rank < k], discount[rank[rank < k]], len(right)) for k in ks]
        figures = [found > 0, found / np.minimum(ks, total[:, None]), found / np.array(ks)]
        figures += [np.bincount(row, so_far / (rank + 1)) / total]
        figures += [gain / ideal[np.minimum(k, total)] for gain, k in zip(gains, ks, strict=True)]
        if voters is not None:
            label = task.groups[task.offsets[at : at + len(right)]]
            figures += [_elected(voters[order[:, :NEAREST]], count - (own >= 0)) == label]
        return np.column_stack(figures)

    with ThreadPoolExecutor(os.cpu_count()) as threads:  # NumPy sorts outside of Python's lock
        return np.concatenate(list(threads.map(block, range(0, len(asked), step))))


def _elected(labels: Ints, pool: Ints) -> Ints:
    """(B,) the label that most of the neighbours (B, 5) have, of several such the nearest one's."""
    there = np.arange(labels.shape[1]) < pool[:, None]
    votes = ((labels[:, :, None] == labels[:, None, :]) & there[:, None, :]).sum(2) * there
    return np.take_along_axis(labels, votes.argmax(1)[:, None], 1)[:, 0]


def _chance(task: Task, ks: Sequence[int]) -> Floats:
    right = np.array([len(task.relevant(at)) for at in range(len(task.queries))])
    own = (task.own >= 0).astype(np.int64)
    if task.hidden is not None:
        own += np.array([len(one) for one in task.hidden])
    pool = len(task.candidates) - own
    found = [chance.found(pool, right, k) for k in ks]
    figures = [chance.hit(pool, right, k) for k in ks]
    figures += [one / np.minimum(k, right) for one, k in zip(found, ks, strict=True)]
    figures += [one / k for one, k in zip(found, ks, strict=True)]
    figures += [chance.precision(pool, right), *(chance.gain(pool, right, k) for k in ks)]
    if task.labels is not None:
        figures += [chance.vote(pool, right, own, np.unique(task.labels, return_counts=True)[1], NEAREST)]
    return np.stack(figures, 1)
