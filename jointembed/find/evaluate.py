"""How well one column finds another: retrieval figures with intervals, and what chance would reach.

Letters: Q queries, C candidates, D dimension, G groups of candidates, F figures.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..cells import explode, key
from ..errors import Failure, Usage, closest
from . import chance
from .ranking import Floats, Ints, Vectors, points, ranked, scores

NEAREST = 5  # neighbours that vote
_BLOCK = 500_000  # scores at once: small enough that their memory is used again


@dataclass(frozen=True)
class Task:
    """Queries, the candidates that each ranks, and which of these are right.

    What is right is kept by groups: a label's candidates, or, without a label, those that are paired with a query. A
    candidate is right for a query if it is in one of the query's groups and is not the query itself.

    Args:
        query: column of the queries.
        target: column of the candidates.
        queries: Q distinct cells, those for which at least one candidate is right.
        candidates: C distinct cells.
        offsets: (Q + 1,), where each query's groups begin in `groups`.
        groups: the queries' groups, one query after another.
        starts: (G + 1,), where each group's candidates begin in `members`.
        members: the groups' candidates, one group after another, ascending in each.
        own: (Q,), the candidate that is the query itself and does not count, or -1.
        labels: (C,) the label of each candidate, -1 for none, if they vote in `knn@5`: where query and target are the
            same column and nothing has several labels. Labels are numbers of groups.
        unanswerable: how many queries were dropped because no candidate is right for them.
    """

    query: str
    target: str
    queries: list[Any]
    candidates: list[Any]
    offsets: Ints
    groups: Ints
    starts: Ints
    members: Ints
    own: Ints
    labels: Ints | None
    unanswerable: int

    def relevant(self, query: int) -> Ints:
        """The candidates that are right for a query, ascending."""
        groups = self.groups[self.offsets[query] : self.offsets[query + 1]]
        found = [self.members[self.starts[group] : self.starts[group + 1]] for group in groups]
        right = found[0] if len(found) == 1 else np.unique(np.concatenate(found)) if found else self.members[:0]
        return np.asarray(right[right != self.own[query]])


def task(
    rows: Sequence[Mapping[str, Any]],
    query: str,
    target: str,
    relevant: str | None = None,
    split: str = "test",
    against: str | None = None,
) -> Task:
    """What a table asks of an embedding: to find cells of one column by cells of another.

    Queries are the distinct cells of `query` in the rows of `split`, candidates those of `target` in the rows of
    `against`; elements of a list are cells of their own. A candidate is right if any row of the table pairs it with an
    equal query cell or, with `relevant`, if a row of `split` that holds the query and a row of `against` that holds
    the candidate share a label. Where query and target are one column, the query itself is no candidate of its own.

    Args:
        rows: the whole table; a row's `split` is a cell of it.
        query: column of the queries.
        target: column of the candidates.
        relevant: column of the labels.
        split: the rows that ask; `all` takes every row.
        against: the rows that answer, by default the same.

    Raises:
        Usage: the table has no such column, or no row of such a split.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    for column in filter(None, (query, target, relevant)):
        if column not in names:
            raise Usage(column, "the table has no such column", closest(column, names))
    held = {
        column: [{key(cell): cell for cell in explode(row.get(column))} for row in rows]
        for column in {query, target, relevant}
        if column is not None
    }
    asking, answering = _rows(rows, split), _rows(rows, split if against is None else against)
    queries = {one: cell for row in asking for one, cell in held[query][row].items()}
    candidates = {one: cell for row in answering for one, cell in held[target][row].items()}
    places = {one: at for at, one in enumerate(candidates)}
    members: dict[int, set[int]] = {}
    if relevant is None:
        asked = {one: {one} for one in queries}
        answered: dict[int, set[int]] = {}
        for pair, other in zip(held[query], held[target], strict=True):
            found = {places[one] for one in other if one in places}
            for one in pair.keys() & queries.keys():
                members.setdefault(one, set()).update(found)
    else:
        asked = _labels(held[query], held[relevant], asking)
        answered = _labels(held[target], held[relevant], answering)
        for one, labels in answered.items():
            for label in labels:
                members.setdefault(label, set()).add(places[one])
    own = {one: places.get(one, -1) if query == target else -1 for one in queries}
    empty: set[int] = set()
    groups = {one: [at for at in asked[one] if members.get(at, empty) not in (empty, {own[one]})] for one in queries}
    kept = [one for one in queries if groups[one]]
    numbers = {group: at for at, group in enumerate(members)}
    single = all(len(labels) < 2 for labels in [*answered.values(), *(asked[one] for one in kept)])
    voting = np.full(len(candidates), -1, np.int64)
    for one in answered:
        voting[places[one]] = min((numbers[label] for label in answered[one]), default=-1)
    return Task(
        query=query,
        target=target,
        queries=[queries[one] for one in kept],
        candidates=list(candidates.values()),
        offsets=_offsets(len(groups[one]) for one in kept),
        groups=np.array([numbers[group] for one in kept for group in groups[one]], np.int64),
        starts=_offsets(map(len, members.values())),
        members=np.array([at for group in members.values() for at in sorted(group)], np.int64),
        own=np.array([own[one] for one in kept], np.int64),
        labels=voting if relevant is not None and query == target and single else None,
        unanswerable=len(queries) - len(kept),
    )


def figures(
    task: Task,
    queries: Vectors,
    candidates: Vectors,
    metric: str,
    ks: Sequence[int] = (1, 5, 10),
    bootstrap: int = 1000,
    seed: int = 0,
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
        metric: `cosine` or `euclidean`.
        ks: the k.
        bootstrap: resamples of the queries.
        seed: of the resamples.

    Returns:
        For each figure its `value`; `low` and `high`, the 95 % percentile bootstrap interval over the queries, None for
        a single query; and `chance`, exactly what a random ranking is expected to reach. All None without any query.

    Raises:
        Usage: a k is less than 1.
        Failure: there is not one finite vector for each query and candidate.
    """
    if not ks or min(ks) < 1:
        raise Usage("k", f"{list(ks)} cannot be measured", "use whole numbers from 1 on")
    for count, vectors in ((len(task.queries), queries), (len(task.candidates), candidates)):
        if vectors.ndim != 2 or len(vectors) != count or not np.isfinite(vectors).all():
            wrong = f"not one finite vector for each of {count} cells, but an array of shape {vectors.shape}"
            raise Failure(f"{task.query} to {task.target}", wrong, "embed the cells of this task")
    names = [f"{name}@{k}" for name in ("hit", "recall", "precision") for k in ks]
    names += ["map", *(f"ndcg@{k}" for k in ks)] + (["knn@5"] if task.labels is not None else [])
    if not task.queries:
        return {name: dict.fromkeys(("value", "low", "high", "chance")) for name in names}
    each = _measured(task, queries, candidates, metric, ks)  # (Q, F)
    size, rng = len(each), np.random.default_rng(seed)
    means = [np.bincount(rng.integers(size, size=size), minlength=size) @ each / size for _ in range(bootstrap)]
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


def _rows(rows: Sequence[Mapping[str, Any]], split: str) -> list[int]:
    found = [at for at, row in enumerate(rows) if split in ("all", row.get("split"))]
    if not found:
        splits = list(dict.fromkeys(str(row["split"]) for row in rows if row.get("split") is not None))
        raise Usage(split, "no row is of this split", closest(split, [*splits, "all"]))
    return found


def _labels(cells: list[dict[int, Any]], labels: list[dict[int, Any]], part: list[int]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for row in part:
        for one in cells[row]:
            found.setdefault(one, set()).update(labels[row])
    return found


def _offsets(lengths: Iterable[int]) -> Ints:
    return np.cumsum([0, *lengths], dtype=np.int64)


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
    pool = len(task.candidates) - own
    found = [chance.found(pool, right, k) for k in ks]
    figures = [chance.hit(pool, right, k) for k in ks]
    figures += [one / np.minimum(k, right) for one, k in zip(found, ks, strict=True)]
    figures += [one / k for one, k in zip(found, ks, strict=True)]
    figures += [chance.precision(pool, right), *(chance.gain(pool, right, k) for k in ks)]
    if task.labels is not None:
        figures += [chance.vote(pool, right, own, np.unique(task.labels, return_counts=True)[1], NEAREST)]
    return np.stack(figures, 1)
