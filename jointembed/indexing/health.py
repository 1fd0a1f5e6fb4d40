"""The health of a trained space on a table, on an index, or on its own vocabularies."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.rows import Rows
from ..data.unreadable import skip_unreadable
from ..errors import UsageError, did_you_mean
from ..evaluation.health import (
    MIN_VECTORS,
    Check,
    check_duplicates,
    check_leakage,
    check_near_leakage,
    check_pairs,
    check_vectors,
)
from ..index.index import Index
from ..space.reproducibility import batch_difference, reload_difference, repeat_difference
from ..space.space import Space, check_names
from ..values import keys, missing
from .table_cells import path_columns

Vectors = NDArray[np.float32]

MAX_REPEATED_CELLS = 32  # that are embedded again, alone and after a reload
MIN_SHARE_OF_DIFFERENT_CELLS = 0.5  # in a column whose cells identify rows; those of a column of labels repeat
ROUNDING = 1e-5  # by which numbers of vectors may differ before a check fails


@dataclass
class HealthReport:
    """What was checked.

    Args:
        checks: in their order.
        notes: what could not be checked, as sentences without a full stop.
        vectors: (N, D) of the different cells of each column.
    """

    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    vectors: dict[str, Vectors] = field(default_factory=dict)

    def add_vectors(self, name: str, vectors: Vectors, metric: str) -> None:
        """Check the vectors of different cells, if these are enough."""
        if len(vectors) < MIN_VECTORS:
            self.notes.append(f"{name} has {len(vectors)} different cells, too few to measure")
            return
        self.vectors[name] = vectors
        self.checks += check_vectors(name, vectors, metric)
        self.checks.append(check_duplicates(name, vectors, metric))


def check_reproducibility(space: Space, column: str, cells: Sequence[Any], trust: Collection[str] = ()) -> list[Check]:
    """Check that cells get the same vectors again, alone and in a batch, and after a reload: to the bit.

    Args:
        space: the space.
        column: of the cells.
        cells: at least one, none missing; the first 32 are embedded.
        trust: packages of its classes.
    """
    first = list(cells[:MAX_REPEATED_CELLS])
    differences = {
        "same cell twice": repeat_difference(space, column, first),
        "alone and in a batch": batch_difference(space, column, first),
        "saved and loaded": reload_difference(space, column, first, trust),
    }
    return [
        Check(column, name, difference, 0, ROUNDING, note="largest difference")
        for name, difference in differences.items()
    ]


def check_vocabularies(space: Space, columns: Collection[str] = (), trust: Collection[str] = ()) -> HealthReport:
    """Check the vectors of the ids or words that columns of a space know; all columns if none are named.

    Raises:
        UsageError: the space has no such column.
    """
    check_names("--column", columns, space.columns)
    report = HealthReport()
    for column in columns or space.columns:
        words = space.reader(column).vocabulary()
        if not words:
            report.notes.append(f"{column} has no vocabulary; a table is needed to check it")
            continue
        cells = words[:: -(-len(words) // 2000)]
        report.add_vectors(column, space.embed(column, cells), space.metric)
        report.checks += check_reproducibility(space, column, cells, trust)
    return report


def check_index(
    index: Index, space: Space, fields: Collection[str] = (), group: str | None = None, trust: Collection[str] = ()
) -> HealthReport:
    """Check the vectors of an index, whether held-out items are among the training items, and its model.

    Args:
        index: the index, which may have a column `split`.
        space: that has made its vectors.
        fields: the fields to check; all if none are named.
        group: a column whose values must not be in several splits.
        trust: packages of the classes of the space.

    Raises:
        UsageError: the index has no such field, or no such column.
        MismatchError: another model has made its vectors.
    """
    for name in fields:
        if name not in index.fields:
            raise UsageError(f"--column {name}", "the index has no such field", did_you_mean(name, index.fields))
    if group is not None and group not in index.columns:
        raise UsageError(group, "the index has no such column", did_you_mean(group, index.columns))
    report = HealthReport()
    for name in fields or index.fields:
        index.check_model(space.fingerprint, name)
        metric = index.field_info(name).metric
        ids, vectors = index.vectors(name)
        report.add_vectors(name, vectors, metric)
        columns = [column for column in ("split", group) if column in index.columns]
        cells = index.cells(columns, name)
        if "split" in columns:
            is_training = _is_training(cells["split"])
            report.checks += check_near_leakage(name, is_training, keys(ids), vectors, metric)
            if group is not None:
                report.checks += _check_groups(group, cells[group], is_training)
        else:
            report.notes.append("the index has no column split, so leakage was not checked")
        if name in space.columns and (words := space.reader(name).vocabulary()):
            report.checks += check_reproducibility(space, name, words, trust)
    return report


def check_table(
    table: Rows,
    space: Space,
    pairs: Collection[tuple[str, str]] = (),
    columns: Collection[str] = (),
    group: str | None = None,
    limit: int = 2000,
    trust: Collection[str] = (),
) -> HealthReport:
    """Check the vectors of the columns of a table, pairs of them, the splits, and the model.

    Args:
        table: the rows.
        space: that embeds them.
        pairs: columns whose cells of a row the space was trained to bring together.
        columns: the columns to check; all that the table has if none are named.
        group: a column whose values must not be in several splits.
        limit: the number of rows that are embedded at most, evenly spaced.
        trust: packages of the classes of the space.

    Raises:
        UsageError: the table or the space has no such column.
    """
    check_names("--column", columns, [*space.columns, *space.fusions])
    if group is not None and group not in table.columns:
        raise UsageError(group, "the table has no such column", did_you_mean(group, table.columns))
    available = [
        name for name in [*space.columns, *space.fusions] if set(space.input_columns(name)) & set(table.columns)
    ]
    names = [name for name in columns or available if name in available]
    if not names:
        wrong = f"the table has none of the columns {', '.join(columns or space.columns)}"
        raise UsageError(table.name, wrong, "give a table that has one")
    report = HealthReport()
    splits = table.cells("split") if "split" in table.columns else ["train"] * len(table)
    is_training = _is_training(splits)
    if is_training.all():
        report.notes.append("all rows are training rows, so leakage was not checked")
    if group is not None:
        report.checks += _check_groups(group, table.cells(group), is_training)
    embedded: dict[str, tuple[NDArray[np.int64], Vectors]] = {}
    for name in names:
        if result := _check_column(report, table, space, name, is_training, limit, trust):
            embedded[name] = result
    for query, target in dict.fromkeys(pairs):
        if query in embedded and target in embedded and query != target:
            _, first, second = np.intersect1d(embedded[query][0], embedded[target][0], return_indices=True)
            if len(first) >= MIN_VECTORS:
                vectors = embedded[query][1][first], embedded[target][1][second]
                report.checks += check_pairs(f"{query}, {target}", *vectors, space.metric)
    return report


def _check_column(
    report: HealthReport,
    table: Rows,
    space: Space,
    name: str,
    is_training: NDArray[np.bool_],
    limit: int,
    trust: Collection[str],
) -> tuple[NDArray[np.int64], Vectors] | None:
    """Check a column; return the rows that were embedded (n,) with their vectors (n, D), if there are any."""

    def embed() -> tuple[list[Any], NDArray[np.int64], Vectors]:
        rows = table.dicts(None, path_columns(space))
        space.compose_cells(rows, name)
        cells = [row.get(name) for row in rows]
        sample = np.unique(np.linspace(0, len(rows) - 1, min(limit, len(rows))).round().astype(np.int64))
        sample = sample[[not missing(cells[row]) for row in sample]]
        return cells, sample, space.embed(name, [cells[row] for row in sample])

    cells, sample, vectors = skip_unreadable(table, space, [name], embed)
    if not len(sample):
        report.notes.append(f"{name} has no cells in this table")
        return None
    present = np.flatnonzero([not missing(cell) for cell in cells])
    present_keys = keys([cells[row] for row in present])
    sample_keys = present_keys[np.searchsorted(present, sample)]
    distinct = np.sort(np.unique(sample_keys, return_index=True)[1])
    report.add_vectors(name, vectors[distinct], space.metric)
    if len(np.unique(present_keys)) > MIN_SHARE_OF_DIFFERENT_CELLS * len(present_keys):
        report.checks += check_leakage(name, is_training[present], present_keys)
        report.checks += check_near_leakage(name, is_training[sample], sample_keys, vectors, space.metric)
    report.checks += check_reproducibility(space, name, [cells[row] for row in sample[distinct]], trust)
    return sample, vectors


def _check_groups(group: str, cells: Sequence[Any], is_training: NDArray[np.bool_]) -> list[Check]:
    is_present = np.array([not missing(cell) for cell in cells])
    present = [cell for cell in cells if not missing(cell)]
    return check_leakage(group, is_training[is_present], keys(present)) if present else []


def _is_training(splits: Sequence[Any]) -> NDArray[np.bool_]:
    return np.array([missing(split) or split == "train" for split in splits])
