"""A backend that keeps an index in memory: it shows that an index needs no more of a store than the protocol says."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jointembed.errors import MismatchError, UsageError, UserError
from jointembed.index.backends.base import Changes, FieldInfo, Float32s, IndexInfo, Keys, Row, View, is_storable
from jointembed.index.backends.encoding import column_names, encode_cells, encode_id, encode_ids, merge_cells
from jointembed.index.backends.fulltext import document, fts_query


@dataclass(frozen=True)
class MemoryView:
    """One version, which never changes: every commit copies its tables."""

    info: IndexInfo
    by_key: Mapping[int, tuple[str, str]] = field(default_factory=dict)  # id and cells as JSON
    by_id: Mapping[str, int] = field(default_factory=dict)
    stored: Mapping[str, Mapping[int, tuple[Float32s, str | None]]] = field(default_factory=dict)  # vector and digest
    terms: Mapping[str, tuple[list[str], Float32s]] = field(default_factory=dict)
    next_key: int = 1

    def count(self) -> int:
        return len(self.by_key)

    def key(self, id: str) -> int | None:
        encode_id(id)
        return self.by_id.get(id)

    def keys(self) -> Keys:
        return np.array(sorted(self.by_key), np.int64)

    def ids(self, field: str | None = None) -> list[str]:
        return [self.by_key[key][0] for key in sorted(self.by_key if field is None else self.stored.get(field, {}))]

    def rows(self, keys: Sequence[int]) -> list[dict[str, Any]]:
        return [{"id": self.by_key[key][0], **json.loads(self.by_key[key][1])} for key in keys]

    def cells(self, names: Sequence[str]) -> Iterator[str]:
        return (json.dumps([row.get(name) for name in names]) for row in self.rows(self.keys().tolist()))

    def find_named(self, name: str) -> list[str]:
        names = {name, unicodedata.normalize("NFC", name)}
        rows = self.rows(self.keys().tolist())
        return [row["id"] for row in rows if row.get("title") in names or row.get("path") in names]

    def vectors(self, field: str) -> Iterator[tuple[Keys, Float32s]]:
        keys = sorted(self.stored.get(field, {}))
        if keys:
            yield np.array(keys, np.int64), np.stack([self.stored[field][key][0] for key in keys])

    def vector_count(self, field: str) -> int:
        return len(self.stored.get(field, {}))

    def is_ancestor(self, version: str) -> bool:
        return version == self.info.version

    def changed_vectors(self, field: str, since: str) -> tuple[Keys, Float32s, Keys]:
        raise ValueError(f"{since} is not an ancestor of another version")

    def vocabulary(self, field: str) -> tuple[list[str], Float32s]:
        return self.terms.get(field, ([], np.empty((0, self.info.field_info(field).dim), np.float32)))

    def search_text(self, query: str, k: int | None) -> tuple[Keys, npt.NDArray[np.float64]]:
        fts_query(query)
        words = set(query.casefold().split())
        texts = {key: " ".join(document(key, *row)[1:]).casefold().split() for key, row in self.by_key.items()}
        counts = Counter(word for text in texts.values() for word in words.intersection(text))
        scores = {
            key: sum(log(1 + len(texts) / counts[word]) for word in words.intersection(text))
            for key, text in texts.items()
            if words.intersection(text)
        }
        keys = sorted(scores, key=lambda key: (-scores[key], key))[:k]
        return np.array(keys, np.int64), np.array([scores[key] for key in keys])

    def embedded_digests(self, ids: Sequence[str], field: str) -> list[str | None]:
        vectors = self.stored.get(field, {})
        return [vectors[key][1] if (key := self.by_id.get(id)) in vectors and key is not None else None for id in ids]

    def changed_rows(self, rows: Sequence[Row]) -> list[Row]:
        changed: list[Row] = []
        encode_ids(rows)
        for row in rows:
            if (key := self.by_id.get(row["id"])) is not None:
                merged = merge_cells(json.loads(self.by_key[key][1]), row)
                if encode_cells(merged).decode("utf-8", "surrogateescape") != self.by_key[key][1]:
                    changed.append(merged)
        return changed


class MemoryBackend:
    """An index in the memory of this process. It keeps no files, has no caches, and is gone with the process.

    Args:
        default: describes the fields that are not declared.
    """

    engine = None

    def __init__(self, default: FieldInfo) -> None:
        default.check("memory")
        self.path = Path(os.devnull) / "memory"  # caches cannot be written there
        identity = os.urandom(4).hex()
        self._view = MemoryView(IndexInfo(default, f"{identity}-0-{os.urandom(4).hex()}", identity))
        self._local = threading.local()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def read(self) -> Iterator[View]:
        """See `Backend.read`."""
        current: MemoryView | None = getattr(self._local, "view", None)
        if current is not None:
            yield current
            return
        self._local.view = self._view
        try:
            yield self._local.view
        finally:
            self._local.view = None

    def commit(self, changes: Changes) -> int:
        """See `Backend.commit`."""
        ids = [id.decode("utf-8", "surrogateescape") for id in encode_ids(changes.rows)]
        with self._lock:
            old = self._view
            info = old.info if changes.edit_info is None else changes.edit_info(old.info)
            by_key, by_id, next_key = dict(old.by_key), dict(old.by_id), old.next_key
            stored = {field: dict(vectors) for field, vectors in old.stored.items()}
            if changes.vectors is not None:
                self._check(changes.vectors, len(ids), info.field_info(changes.field))
                info = info.with_names([changes.field], column_names(changes.rows))
                stored.setdefault(changes.field, {})
            elif ids:
                info = info.with_names([], column_names(changes.rows))
            for number, (id, row) in enumerate(zip(ids, changes.rows, strict=True)):
                if id not in by_id:
                    if changes.vectors is None:
                        continue
                    by_id[id], next_key = next_key, next_key + 1
                by_key[by_id[id]] = id, encode_cells(row).decode("utf-8", "surrogateescape")
                if changes.vectors is not None:
                    vector = np.array(changes.vectors[number], np.float32)
                    stored[changes.field][by_id[id]] = vector, row.get("_digest")
            vocabulary = dict(old.terms)
            for field, (terms, vectors) in changes.vocabulary.items():
                self._check(vectors, len(terms), info.field_info(field))
                vocabulary[field] = list(terms), vectors
            deleted = [by_id.pop(id) for id in dict.fromkeys(changes.deletes) if id in by_id]
            for key in deleted:
                del by_key[key]
                for vectors_of in stored.values():
                    vectors_of.pop(key, None)
            self._view = MemoryView(self._next(info), by_key, by_id, stored, vocabulary, next_key)
            return len(deleted)

    def write_column(self, name: str, values: Mapping[str, Any], clusters: Sequence[str]) -> None:
        """See `Backend.write_column`."""
        with self._lock:
            old = self._view
            replaceable = old.info.clusters.get(name, ())
            by_key = {}
            for key, (id, text) in old.by_key.items():
                cells = json.loads(text)
                if cells.get(name) is not None and cells[name] not in replaceable:
                    fix = "choose another --output-column"
                    raise UsageError(name, "the rows already have a column of this name", fix)
                cells = merge_cells(cells, {name: values.get(id)})
                by_key[key] = id, encode_cells(cells).decode("utf-8", "surrogateescape")
            info = replace(old.info, clusters={**old.info.clusters, name: list(clusters)}).with_names([], [name])
            self._view = replace(old, info=self._next(info), by_key=by_key)

    def close(self) -> None:
        """Do nothing: the index is gone with its last reference."""

    def _check(self, vectors: Float32s, count: int, info: FieldInfo) -> None:
        if vectors.shape != (count, info.dim):
            problem = f"expected {count} vectors of {info.dim} dimensions, got the shape {vectors.shape}"
            raise MismatchError(self.path, problem, "embed with the model of the index")
        if len(wrong := np.flatnonzero(~is_storable(vectors, info.metric))):
            problem = f"vector {wrong[0]} of {count} is not finite, or not of length 1"
            raise UserError(self.path, problem, "embed these rows again")

    def _next(self, info: IndexInfo) -> IndexInfo:
        generation = info.generation + 1
        version = f"{info.identity}-{generation}-{os.urandom(4).hex()}"
        return replace(info, generation=generation, version=version)
