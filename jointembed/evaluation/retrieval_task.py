"""What a table asks of an embedding: which cells ask, which may answer, and which answers are right.

Letters: Q queries, C candidates, G groups of candidates.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import UsageError, did_you_mean
from ..values import explode, key, missing
from .ranking import Ints


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
        asking: for each query the number of the first row that holds it.
        own: (Q,), the candidate that is the query itself and does not count, or -1.
        hidden: for each query the candidates that are none for it, if there are such.
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
    hidden: list[Ints] | None
    asking: list[int]
    labels: Ints | None
    unanswerable: int

    def relevant(self, query: int) -> Ints:
        """The candidates that are right for a query, ascending."""
        groups = self.groups[self.offsets[query] : self.offsets[query + 1]]
        found = [self.members[self.starts[group] : self.starts[group + 1]] for group in groups]
        right = found[0] if len(found) == 1 else np.unique(np.concatenate(found)) if found else self.members[:0]
        right = right[right != self.own[query]]
        return np.asarray(right if self.hidden is None else np.setdiff1d(right, self.hidden[query]))


def task(
    rows: Sequence[Mapping[str, Any]],
    query: str,
    target: str,
    relevant: str | None = None,
    split: str = "test",
    against: str | None = None,
    exclude: str | None = None,
    whole: Collection[str] = (),
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
        exclude: column of what is no candidate for a query: the elements of its cell in the rows that hold the query.
            Where it asks itself, its lists ask as one.
        whole: further columns whose lists are one cell: a history.

    Raises:
        UsageError: the table has no such column, or no row of such a split.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    for column in filter(None, (query, target, relevant, exclude)):
        if column not in names:
            raise UsageError(column, "the table has no such column", did_you_mean(column, names))
    held = {
        column: [_held(row.get(column), column in whole or column == exclude) for row in rows]
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
    first = {one: row for row in reversed(asking) for one in held[query][row]}
    hidden = None
    if exclude is not None:
        found_in = {one: set[int]() for one in kept}
        for row in asking:
            seen = {places[key(cell)] for cell in _elements(rows[row].get(exclude)) if key(cell) in places}
            for one in held[query][row].keys() & found_in.keys():
                found_in[one] |= seen
        hidden = [np.array(sorted(found_in[one]), np.int64) for one in kept]
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
        hidden=hidden,
        asking=[first[one] for one in kept],
        labels=voting if relevant is not None and query == target and single else None,
        unanswerable=len(queries) - len(kept),
    )


def units(rows: Sequence[Mapping[str, Any]], task: Task, column: str | None) -> list[Any] | None:
    """What each query belongs to, the cell of a column in the first row that holds it; None without a column.

    Raises:
        UsageError: the table has no such column.
    """
    if column is None:
        return None
    if not any(column in row for row in rows):
        raise UsageError(
            column, "the table has no such column", did_you_mean(column, {name for row in rows for name in row})
        )
    return [rows[row].get(column) for row in task.asking]


def _rows(rows: Sequence[Mapping[str, Any]], split: str) -> list[int]:
    found = [at for at, row in enumerate(rows) if split in ("all", row.get("split"))]
    if not found:
        splits = list(dict.fromkeys(str(row["split"]) for row in rows if row.get("split") is not None))
        raise UsageError(split, "no row is of this split", did_you_mean(split, [*splits, "all"]))
    return found


def _held(cell: Any, whole: bool) -> dict[int, Any]:
    return {key(one): one for one in ([cell] if whole and not missing(cell) else explode(cell))}


def _elements(cell: Any) -> list[Any]:
    return [] if missing(cell) else list(cell) if isinstance(cell, list | tuple) else [cell]


def _labels(cells: list[dict[int, Any]], labels: list[dict[int, Any]], part: list[int]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for row in part:
        for one in cells[row]:
            found.setdefault(one, set()).update(labels[row])
    return found


def _offsets(lengths: Iterable[int]) -> Ints:
    return np.cumsum([0, *lengths], dtype=np.int64)
