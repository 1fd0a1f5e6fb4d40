"""The queries and candidates that a table gives, and which candidates are relevant for which query.

Letters: Q queries, C candidates, G groups of candidates.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import UsageError, did_you_mean
from ..values import explode, items, key, missing
from .ranking import Ints

Rows = Sequence[Mapping[str, Any]]
_Cells = list[dict[int, Any]]  # for each row, its cells in a column by their keys
_Groups = dict[int, set[int]]


@dataclass(frozen=True)
class RetrievalTask:
    """Queries, the candidates that each ranks, and which of these are relevant.

    Relevance is stored by groups: the candidates of a label, or, without labels, those that are paired with a query. A
    candidate is relevant for a query if it is in one of the query's groups and is not the query itself.

    Args:
        query: column of the queries.
        target: column of the candidates.
        queries: Q distinct cells with at least one relevant candidate that they rank.
        candidates: C distinct cells.
        query_offsets: (Q + 1,), where the groups of each query begin in `query_groups`.
        query_groups: the groups of all queries, one query after another.
        group_offsets: (G + 1,), where the candidates of each group begin in `group_members`.
        group_members: the candidates of all groups, ascending within each group.
        self_candidate: (Q,), the candidate that is the query itself, which is not ranked; else -1.
        excluded: for each query the candidates that it does not rank; None if it ranks all.
        query_rows: for each query, the first row that holds it.
        labels: (C,) the group of each candidate, -1 for none, if they vote in `knn@5`: if query and target are the same
            column and nothing has several labels.
        unanswerable: number of queries dropped because they rank no relevant candidate.
    """

    query: str
    target: str
    queries: list[Any]
    candidates: list[Any]
    query_offsets: Ints
    query_groups: Ints
    group_offsets: Ints
    group_members: Ints
    self_candidate: Ints
    excluded: list[Ints] | None
    query_rows: list[int]
    labels: Ints | None
    unanswerable: int

    def relevant(self, query: int) -> Ints:
        """Return the ascending positions of the candidates that are relevant for a query."""
        groups = self.query_groups[self.query_offsets[query] : self.query_offsets[query + 1]]
        parts = [self.group_members[self.group_offsets[group] : self.group_offsets[group + 1]] for group in groups]
        members = parts[0] if len(parts) == 1 else np.unique(np.concatenate([self.group_members[:0], *parts]))
        members = members[members != self.self_candidate[query]]
        return np.asarray(members if self.excluded is None else np.setdiff1d(members, self.excluded[query]))


def build_task(
    rows: Rows,
    query: str,
    target: str,
    relevant: str | None = None,
    split: str = "test",
    candidate_split: str | None = None,
    exclude: str | None = None,
    list_columns: Collection[str] = (),
) -> RetrievalTask:
    """Return the task of retrieving the cells of one column by those of another.

    Queries are the distinct cells of `query` in the rows of `split`, and candidates those of `target` in the rows of
    `candidate_split`; the elements of a list are cells of their own. A candidate is relevant if any row of the table
    pairs it with an equal query cell or, with `relevant`, if a row of `split` with the query and a row of
    `candidate_split` with the candidate share a label. If query and target are the same column, a query does not rank
    itself.

    Args:
        rows: the whole table, with each row's `split`.
        query: column of the queries.
        target: column of the candidates.
        relevant: column of the labels.
        split: rows of the queries; `all` for every row.
        candidate_split: rows of the candidates; the same as the queries' if None.
        exclude: column of candidates that a query does not rank: the elements of its cell in the rows with the query.
            If it is the query column itself, each of its lists is one query.
        list_columns: further columns in which a list is one cell, such as a history.

    Raises:
        UsageError: the table lacks a column, or rows of a split.
    """
    _require_columns(rows, [query, target, relevant, exclude])
    whole = {exclude, *list_columns}
    cells: dict[str | None, _Cells] = {
        column: [_cells_by_key(row.get(column), column in whole) for row in rows]
        for column in {query, target, relevant}
        if column is not None
    }
    query_rows = _rows_of_split(rows, split)
    candidate_rows = _rows_of_split(rows, split if candidate_split is None else candidate_split)
    queries = {cell: value for row in query_rows for cell, value in cells[query][row].items()}
    candidates = {cell: value for row in candidate_rows for cell, value in cells[target][row].items()}
    position = {cell: at for at, cell in enumerate(candidates)}
    if relevant is None:
        query_groups, candidate_groups = {cell: {cell} for cell in queries}, _Groups()
        members = _paired_candidates(cells[query], cells[target], queries, position)
    else:
        query_groups = _labels_of_cells(cells[query], cells[relevant], query_rows)
        candidate_groups = _labels_of_cells(cells[target], cells[relevant], candidate_rows)
        members = _Groups()
        for cell, labels in candidate_groups.items():
            for label in labels:
                members.setdefault(label, set()).add(position[cell])
    own = {cell: position.get(cell, -1) if query == target else -1 for cell in queries}
    excluded = None if exclude is None else _exclusions(rows, exclude, query_rows, cells[query], queries, position)
    unranked = {cell: {own[cell]} | (set() if excluded is None else excluded[cell]) for cell in queries}
    answers = {
        cell: [group for group in query_groups[cell] if not members.get(group, set()) <= unranked[cell]]
        for cell in queries
    }
    answerable = [cell for cell in queries if answers[cell]]
    first_row = {cell: row for row in reversed(query_rows) for cell in cells[query][row]}
    group_number = {group: at for at, group in enumerate(members)}
    labelled = [*candidate_groups.values(), *(query_groups[cell] for cell in answerable)]
    votes = relevant is not None and query == target and all(len(labels) < 2 for labels in labelled)
    return RetrievalTask(
        query=query,
        target=target,
        queries=[queries[cell] for cell in answerable],
        candidates=list(candidates.values()),
        query_offsets=_offsets(len(answers[cell]) for cell in answerable),
        query_groups=np.array([group_number[group] for cell in answerable for group in answers[cell]], np.int64),
        group_offsets=_offsets(map(len, members.values())),
        group_members=np.array([at for group in members.values() for at in sorted(group)], np.int64),
        self_candidate=np.array([own[cell] for cell in answerable], np.int64),
        excluded=None if excluded is None else [np.array(sorted(excluded[cell]), np.int64) for cell in answerable],
        query_rows=[first_row[cell] for cell in answerable],
        labels=_candidate_labels(position, candidate_groups, group_number) if votes else None,
        unanswerable=len(queries) - len(answerable),
    )


def bootstrap_groups(rows: Rows, task: RetrievalTask, column: str | None) -> list[Any] | None:
    """Return the group of each query: its cell of a column in the first row that holds it; None without a column.

    Raises:
        UsageError: the table lacks the column.
    """
    if column is None:
        return None
    _require_columns(rows, [column])
    return [rows[row].get(column) for row in task.query_rows]


def _require_columns(rows: Rows, columns: Iterable[str | None]) -> None:
    names = dict.fromkeys(name for row in rows for name in row)
    for column in columns:
        if column is not None and column not in names:
            raise UsageError(column, "the table has no such column", did_you_mean(column, list(names)))


def _rows_of_split(rows: Rows, split: str) -> list[int]:
    positions = [at for at, row in enumerate(rows) if split in ("all", row.get("split"))]
    if not positions:
        splits = list(dict.fromkeys(str(row["split"]) for row in rows if row.get("split") is not None))
        raise UsageError(split, "the table has no row of this split", did_you_mean(split, [*splits, "all"]))
    return positions


def _cells_by_key(cell: Any, whole: bool) -> dict[int, Any]:
    return {key(value): value for value in ([cell] if whole and not missing(cell) else explode(cell))}


def _paired_candidates(
    queries: _Cells, targets: _Cells, query_keys: Collection[int], position: dict[int, int]
) -> _Groups:
    """Return for each query the candidates that any row pairs it with."""
    members: _Groups = {}
    for row, targets_of_row in zip(queries, targets, strict=True):
        paired = {position[cell] for cell in targets_of_row if cell in position}
        for cell in row:
            if cell in query_keys:
                members.setdefault(cell, set()).update(paired)
    return members


def _labels_of_cells(cells: _Cells, labels: _Cells, rows: Iterable[int]) -> _Groups:
    labels_of: _Groups = {}
    for row in rows:
        for cell in cells[row]:
            labels_of.setdefault(cell, set()).update(labels[row])
    return labels_of


def _exclusions(
    rows: Rows, column: str, query_rows: Iterable[int], cells: _Cells, queries: Iterable[int], position: dict[int, int]
) -> _Groups:
    """Return for each query the candidates in its cells of a column."""
    excluded: _Groups = {cell: set() for cell in queries}
    for row in query_rows:
        positions = {position[cell] for cell in map(key, items(rows[row].get(column))) if cell in position}
        for cell in cells[row]:
            excluded[cell] |= positions
    return excluded


def _candidate_labels(position: dict[int, int], labels_of: _Groups, group_number: dict[int, int]) -> Ints:
    labels = np.full(len(position), -1, np.int64)
    for cell, groups in labels_of.items():
        labels[position[cell]] = min((group_number[group] for group in groups), default=-1)
    return labels


def _offsets(lengths: Iterable[int]) -> Ints:
    return np.cumsum([0, *lengths], dtype=np.int64)
