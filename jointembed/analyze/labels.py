"""Labels of items, and what their neighbors and the model's vocabulary predict for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..display import are_labels, displayable_cells, format_cell
from ..evaluation.ranking import prepare, score
from ..index.index import Index
from ..index.selection import SelectedItems, iter_rows

KNN = 5


def label_columns(index: Index, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the columns that label items: 2 to 50 distinct texts or integers, each three times on average."""
    ignored = {"split", *index.info.clusters}
    columns = dict.fromkeys(column for row in rows for column in row if column not in ignored)
    return [column for column in columns if are_labels([row[column] for row in rows if column in row])]


def knn_labels(
    index: Index, ids: Sequence[str], columns: Sequence[str], field: str | None = None
) -> dict[str, list[str | None]]:
    """Return for each column the label that most of the five nearest other items have, for each item.

    A tie is decided by the nearest.

    Args:
        index: the index.
        ids: the items.
        columns: the columns of labels.
        field: the field of the vectors.
    """
    all_ids, vectors = index.vectors(field)
    position = {id: at for at, id in enumerate(all_ids)}
    own = vectors[[position[id] for id in ids]]
    neighbors, _ = index.search_batch(own, KNN, field, exclude=[[id] for id in ids])
    used = np.unique(neighbors[neighbors >= 0]).tolist()
    rows = iter_rows(index, [all_ids[at] for at in used])
    row_of = {at: displayable_cells(row) for at, row in zip(used, rows, strict=True)}
    labels: dict[str, list[str | None]] = {column: [] for column in columns}
    for nearest in neighbors.tolist():
        voters = [row_of[at] for at in nearest if at >= 0]
        for column in columns:  # a Counter keeps the order, so the nearest decides a tie
            votes = Counter(format_cell(voter[column]) for voter in voters if column in voter)
            labels[column].append(votes.most_common(1)[0][0] if votes else None)
    return labels


def nearest_label_points(
    index: Index, items: SelectedItems, columns: Sequence[str], field: str | None = None
) -> dict[str, list[str | None]]:
    """Return for each column the label whose vector is nearest, for each item.

    Only for columns whose labels are all in the vocabulary of the index.

    Args:
        index: the index; see `Index.vocabulary`.
        items: the items.
        columns: the columns of labels.
        field: the field of the vectors.
    """
    terms, vectors = index.vocabulary(field)
    position, metric = {term: at for at, term in enumerate(terms)}, index.field_info(field).metric
    predicted: dict[str, list[str | None]] = {}
    for column in columns:
        labels = sorted({format_cell(row[column]) for row in items.rows if column in row})
        if all(label in position for label in labels):
            candidates = vectors[[position[label] for label in labels]]
            scores = score(*prepare(items.vectors, candidates, metric), metric)
            predicted[column] = [labels[at] for at in scores.argmax(1)]
    return predicted
