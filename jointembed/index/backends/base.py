"""What a search needs of a store of rows and vectors: the protocol of its backends, and what an index says of itself.

A row has a key, an integer that is never used again: the order of the keys is the order in which the rows came.

Letters: N rows, D dimension.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ...errors import UsageError
from ...files import sound_path, text_to_path
from ..where import Condition

Keys = npt.NDArray[np.int64]
Float32s = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Row = Mapping[str, Any]

METRICS = ("cosine", "dot", "euclidean")
MAX_DIM = 65_536
MAX_VECTOR_NORM = 1e18  # its square still fits a float32, with room for the difference of two vectors


@dataclass(frozen=True)
class FieldInfo:
    """What an index knows of a vector field.

    Args:
        dim: D.
        metric: `cosine`, `dot` or `euclidean`.
        model: path of the model that computed the vectors.
        fingerprint: identifies this model and its preprocessing.
        note: what a user should know of the vectors, such as what the model was trained on.
        model_column: the column of the model that was embedded; "" if it has the name of the field.
        model_signature: identifies the model's file without reading it.
        embed_options: how the model embedded.
        sample_rate: of the sounds that were embedded, in Hz; 0 if none were.
        has_vocabulary: whether the terms of the model were stored, or it has none.
    """

    dim: int
    metric: str
    model: str = ""
    fingerprint: str = ""
    note: str = ""
    model_column: str = ""
    model_signature: str = ""
    embed_options: Mapping[str, Any] = dataclass_field(default_factory=dict)
    sample_rate: int = 0
    has_vocabulary: bool = False

    def check(self, subject: object) -> None:
        """Raise UsageError unless vectors can have this metric and dimension."""
        if self.metric not in METRICS or not 1 <= self.dim <= MAX_DIM:
            fix = f"use {' or '.join(METRICS)}, and 1 to {MAX_DIM} dimensions"
            raise UsageError(subject, f"an index cannot have the metric {self.metric} in {self.dim} dimensions", fix)


@dataclass(frozen=True)
class Root:
    """A folder that scans of an index read. The path of a file in it is relative to it, and begins with its label.

    Args:
        folder: its absolute path.
        label: its name and `//`, which no path within a folder contains; "" for the first folder of an index.
        device: its device at its last complete scan, "" before.
        mounts: the paths in it that were other disks then, as files have them.
    """

    folder: str
    label: str = ""
    device: str = ""
    mounts: tuple[str, ...] = ()

    def contains(self, path: bytes) -> bool:
        """Whether the path of a file, as an index has it, is one of this folder."""
        return path.startswith(os.fsencode(self.label)) if self.label else b"//" not in path

    def absolute(self, path: bytes) -> bytes:
        """The absolute path of a file of this folder, or of the file that a track is of."""
        return os.path.join(os.fsencode(self.folder), sound_path(path[len(os.fsencode(self.label)) :]))


@dataclass(frozen=True)
class IndexInfo:
    """What one version of an index says of itself.

    Args:
        default: describes the fields that `declared` does not name.
        version: identifies the commit, also among copies of the index that were written to.
        identity: the same for all versions of an index.
        generation: the number of commits.
        declared: fields that were added with `Index.add_field`.
        fields: the names of the vector fields, the first one added first.
        columns: the names of the metadata columns, in the order in which they came.
        roots: the folders that scans read; none if the index was made from a table.
        table_root: the folder of the table that the index was made from.
        scan_field: the field that scans of a folder fill by default.
        clusters: the names of the clusters in each column that `cluster` wrote.
        approximate: the fields that are searched approximately, each with the recall@10 that was last measured.
    """

    default: FieldInfo
    version: str = ""
    identity: str = ""
    generation: int = 0
    declared: Mapping[str, FieldInfo] = dataclass_field(default_factory=dict)
    fields: Sequence[str] = ()
    columns: Sequence[str] = ()
    roots: Sequence[Root] = ()
    table_root: str = ""
    scan_field: str = ""
    clusters: Mapping[str, Sequence[str]] = dataclass_field(default_factory=dict)
    approximate: Mapping[str, float] = dataclass_field(default_factory=dict)

    def field_info(self, name: str | None) -> FieldInfo:
        """What is known of a field, by default of the first one."""
        name = self.fields[0] if name is None and self.fields else name
        return self.declared.get(name or "", self.default)

    def with_field(self, name: str | None, **changes: Any) -> IndexInfo:
        """The same with changes to the description of a field, by default of the first one."""
        name = self.fields[0] if name is None and self.fields else name
        if name is not None and name in self.declared:
            return replace(self, declared={**self.declared, name: replace(self.declared[name], **changes)})
        return replace(self, default=replace(self.default, **changes))

    def with_approximate(self, field: str, recall: float | None) -> IndexInfo:
        """A copy with the recall of a field's approximate search; None removes it."""
        rest = {name: value for name, value in self.approximate.items() if name != field}
        return replace(self, approximate=rest if recall is None else {**rest, field: recall})

    def with_root(self, root: Root) -> IndexInfo:
        """The same with another root, which replaces one of the same label."""
        roots = {present.label: present for present in self.roots} | {root.label: root}
        return replace(self, roots=list(roots.values()))

    @property
    def folders(self) -> list[str]:
        """The folders that the paths of rows start from."""
        return [root.folder for root in self.roots] or [folder for folder in [self.table_root] if folder]

    def locate(self, path: str, id: str = "") -> str:
        """The absolute path of the file that a row names in its column `path`.

        The id of a row is the path of its file as it is stored; the column has composed characters (NFC), which may be
        the name of another file.
        """
        for name in (id, sound_path(os.fsencode(id)).decode("utf-8", "surrogateescape")):
            if name != path and unicodedata.normalize("NFC", name) == path:
                stored = self.locate(name)
                if os.path.lexists(stored):
                    return stored
        for root in self.roots:
            if root.label and path.startswith(root.label):
                return text_to_path(path.removeprefix(root.label), root.folder)
        return text_to_path(path, os.path.abspath((self.folders or ["."])[0]))

    def with_names(self, fields: Sequence[str], columns: Sequence[str]) -> IndexInfo:
        """The same with fields and columns that were not there yet."""
        fields = list(dict.fromkeys([*self.fields, *fields]))
        return replace(self, fields=fields, columns=list(dict.fromkeys([*self.columns, *columns])))


@dataclass(frozen=True)
class Changes:
    """What a commit writes.

    Args:
        rows: rows to insert, or to replace where the id exists; each with its `id`.
        field: the field of `vectors`; rows keep their vectors of other fields.
        vectors: (N, D), a vector for each row; None to write metadata only, of rows that exist.
        deletes: ids of rows to delete; ids that do not exist are ignored.
        edit_info: returns the new description of the index, but its version, from the present one.
        vocabulary: by field, terms and their vectors, which replace those that the field had.
    """

    rows: Sequence[Row] = ()
    field: str = ""
    vectors: Float32s | None = None
    deletes: Collection[str] = ()
    edit_info: Callable[[IndexInfo], IndexInfo] | None = None
    vocabulary: Mapping[str, tuple[Sequence[str], Float32s]] = dataclass_field(default_factory=dict)


class View(Protocol):
    """One version of the rows and vectors, to be read in the thread and in the block that opened it."""

    @property
    def info(self) -> IndexInfo:
        """What the version says of itself."""
        ...

    def count(self) -> int:
        """The number of rows."""
        ...

    def key(self, id: str) -> int | None:
        """The key of a row, None if there is no such id."""
        ...

    def keys(self) -> Keys:
        """The keys of all rows, ascending."""
        ...

    def ids(self, field: str | None = None) -> list[str]:
        """The ids of all rows, or of those with a vector in a field, in row order."""
        ...

    def rows(self, keys: Sequence[int]) -> list[dict[str, Any]]:
        """The rows of some keys in their order, each with its `id`."""
        ...

    def cells(self, names: Sequence[str]) -> Iterator[str]:
        """The cells of some columns of all rows, in row order: each row as a JSON list, null where it has none."""
        ...

    def find_named(self, name: str) -> list[str]:
        """The ids of the row of a file with this path, else of all rows with this title or `path`."""
        ...

    def vectors(self, field: str) -> Iterator[tuple[Keys, Float32s]]:
        """The keys (n,) and vectors (n, D) of a field in row order, in blocks.

        Raises:
            DamagedError: a vector has another dimension, or is not finite.
        """
        ...

    def vector_count(self, field: str) -> int:
        """The number of vectors of a field."""
        ...

    def is_ancestor(self, version: str) -> bool:
        """Whether this version was made from that one by commits."""
        ...

    def changed_vectors(self, field: str, since: str) -> tuple[Keys, Float32s, Keys]:
        """The keys and vectors of a field that were written since an ancestor, and the keys of those removed."""
        ...

    def vocabulary(self, field: str) -> tuple[list[str], Float32s]:
        """The terms of a field and their vectors (T, D)."""
        ...

    def search_text(self, query: str, k: int | None) -> tuple[Keys, npt.NDArray[np.float64]]:
        """The keys and scores of the rows with a word of the query, best first; see `fulltext.py`."""
        ...

    def embedded_digests(self, ids: Sequence[str], field: str) -> list[str | None]:
        """For each id the digest of the cell that its vector was made from, None if it has no digest."""
        ...

    def changed_rows(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that exist with other cells or another file than given, with the cells merged into them."""
        ...


class SearchEngine(Protocol):
    """The vector search of a store that has its own, so that the vectors need not be in memory.

    It answers in the version of the block of `Backend.read` around it.
    """

    def search(
        self, field: str, query: Floats, k: int, where: Condition | None, exclude: Collection[int]
    ) -> tuple[Keys, Floats] | None:
        """The keys and exact scores of the k rows nearest to a query (D,), best first; equal scores in row order.

        Args:
            field: the vector field.
            query: of length 1 if the metric is cosine.
            k: the number of results.
            where: a condition that the results meet.
            exclude: keys of rows that are not wanted.

        Returns:
            None if the store cannot test the condition.
        """
        ...

    def vectors_at(self, field: str, keys: Sequence[int]) -> tuple[Keys, Float32s]:
        """The keys and vectors of those rows of some keys that have a vector in a field."""
        ...

    def build_approximate(self, field: str) -> float:
        """Build the approximate search of the store, write its recall@10 into `IndexInfo.approximate`, and return it.

        Raises:
            UsageError: the field has too few vectors.
        """
        ...


class Backend(Protocol):
    """A store of rows and vectors that many threads read while one writes whole versions.

    Args:
        path: caches of the vectors are written beside it.
        engine: the vector search of the store; None if it has none, and arrays are searched.
    """

    path: Path
    engine: SearchEngine | None

    def read(self) -> AbstractContextManager[View]:
        """One version, the same until the end of the block; a block inside another sees the version of that one."""
        ...

    def commit(self, changes: Changes) -> int:
        """Write the next version at once; return the number of rows deleted."""
        ...

    def write_column(self, name: str, values: Mapping[str, Any], clusters: Sequence[str]) -> None:
        """Write a column of cluster names over all rows; see `Index.write_clusters`."""
        ...

    def close(self) -> None:
        """Release the store."""
        ...


def is_storable(vectors: Float32s, metric: str) -> npt.NDArray[np.bool_]:
    """Which of (N, D) vectors can be stored: those that are finite, and of length 1 if the metric is cosine."""
    norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    low, high = (0.999, 1.001) if metric == "cosine" else (0.0, MAX_VECTOR_NORM)
    return np.asarray((low <= norms) & (norms <= high))
