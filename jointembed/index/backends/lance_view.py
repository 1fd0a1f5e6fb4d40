"""One version of an index in a Lance dataset, and conditions in the language of the store; see `lance.py`.

Letters: N rows, D dimension, T terms.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...errors import DamagedError, MismatchError, UserError
from ..search.rounding import relative_error
from ..search.vectors import Vectors
from ..where import Comparison, Condition, Value, check_types
from .base import Float32s, Floats, IndexInfo, Keys, Row, is_storable
from .encoding import encode_cells, encode_id, encode_ids, merge_cells
from .fulltext import fts_query
from .info import parse_info

LAYOUT = 1
KINDS = {str: "text", float: "number", int: "number", bool: "flag"}  # of a cell, which a column of the table holds
_BLOCK_ROWS, _FEW_IDS = 8_192, 1_000
_MARGIN = 16  # results that are fetched beyond k, since rounding may have ranked them wrongly
_REFINE = 10  # candidates of an approximate search for each result, which are scored exactly
_EXACT_INTEGERS = 2**53


@dataclass(frozen=True)
class Ledger:
    """What a version knows beside `IndexInfo`.

    Args:
        next_key: of the next new row.
        commits: the generation and the token of the last commits.
        removed: the generations in which rows were removed, with their keys.
        kinds: for each column the kinds of its cells: `text`, `number`, `flag`, or `other`, which only JSON holds.
        probes: for each field how many lists of its inverted file a search reads.
    """

    next_key: int = 1
    commits: Sequence[tuple[int, str]] = ()
    removed: Sequence[tuple[int, Sequence[int]]] = ()
    kinds: Mapping[str, Sequence[str]] = dataclass_field(default_factory=dict)
    probes: Mapping[str, int] = dataclass_field(default_factory=dict)


class LanceView:
    """One version of the table; see `View`."""

    def __init__(self, uri: str, dataset: Any) -> None:
        self.uri, self.dataset = uri, dataset
        try:
            [text] = self._table(["cells"], "key = 0")["cells"].to_pylist()
            meta = json.loads(text)
            layout = meta["layout"]
            if layout == LAYOUT:
                self.info: IndexInfo = parse_info(meta)
                self.ledger = Ledger(**meta["ledger"])
        except (KeyError, ValueError, TypeError, AttributeError, UserError) as error:
            fix = "give the folder of an index, which ends in .lance"
            raise DamagedError(uri, "this Lance table is not an index, or it is broken", fix) from error
        if layout != LAYOUT:
            fix = "pip install -U jointembed"
            raise MismatchError(uri, f"another version of jointembed wrote this index (layout {layout})", fix)

    def count(self) -> int:
        return len(self._order[0])

    def key(self, id: str) -> int | None:
        encode_id(id)
        return self.keys_of([id]).get(id)

    def keys_of(self, ids: Sequence[str]) -> dict[str, int]:
        """The keys of those ids that exist."""
        ids = [id for id in ids if is_unicode(id)]
        if not ids:
            return {}
        if len(ids) <= _FEW_IDS:
            table = self._table(["id", "key"], f"alive and id in ({_literals(ids)})")
        else:
            table = self._table(["id", "key"], "alive")
            table = table.filter(pc.is_in(table["id"], value_set=pa.array(ids)))
        return dict(zip(table["id"].to_pylist(), table["key"].to_pylist(), strict=True))

    def keys(self) -> Keys:
        return self._order[0]

    def ids(self, field: str | None = None) -> list[str]:
        written = [] if field is None else [self._column("written", field)]
        ids: list[str] = []
        for block in self._blocks(["id", *written]):
            ids += (block.filter(pc.is_valid(block[written[0]])) if written else block)["id"].to_pylist()
        return ids

    def rows(self, keys: Sequence[int]) -> list[dict[str, Any]]:
        table = self._take(keys, ["id", "cells"])
        return [
            {"id": id, **json.loads(cells)}
            for id, cells in zip(table["id"].to_pylist(), table["cells"].to_pylist(), strict=True)
        ]

    def cells(self, names: Sequence[str]) -> Iterator[str]:
        for block in self._blocks(["id", "cells"]):
            for id, text in zip(block["id"].to_pylist(), block["cells"].to_pylist(), strict=True):
                row = {"id": id, **json.loads(text)}
                yield json.dumps([row.get(name) for name in names], ensure_ascii=False)

    def find_named(self, name: str) -> list[str]:
        names = [text for text in {name, unicodedata.normalize("NFC", name)} if is_unicode(text)]
        columns = list(self.info.columns)
        tests = [
            f"text_{columns.index(column)} in ({_literals(names)})"
            for column in ("title", "path")
            if names and "text" in self.ledger.kinds.get(column, ())
        ]
        if not tests:
            return []
        table = self._table(["key", "id"], f"alive and ({' or '.join(tests)})")
        return list(table.sort_by("key")["id"].to_pylist())

    def vectors(self, field: str) -> Iterator[tuple[Keys, Float32s]]:
        if field in self.info.fields:
            for block in self._blocks([self._column("vector", field)]):
                keys, values = self._decode(block, field)
                if len(keys):
                    yield keys, values

    def vector_count(self, field: str) -> int:
        if field not in self.info.fields:
            return 0
        return int(self.dataset.count_rows(f"alive and {self._column('written', field)} is not null"))

    def is_ancestor(self, version: str) -> bool:
        identity, generation, token = version.split("-")
        return identity == self.info.identity and [int(generation), token] in map(list, self.ledger.commits)

    def changed_vectors(self, field: str, since: str) -> tuple[Keys, Float32s, Keys]:
        generation = int(since.split("-")[1])
        newer = f"alive and {self._column('written', field)} > {generation}"
        keys, values = self._decode(self._table(["key", self._column("vector", field)], newer).sort_by("key"), field)
        removed = [key for at, removed_keys in self.ledger.removed if at > generation for key in removed_keys]
        return keys, values, np.array(removed, np.int64)

    def vocabulary(self, field: str) -> tuple[list[str], Float32s]:
        dim, fields = self.info.field_info(field).dim, list(self.info.fields)
        if field in fields:
            table = self._table(["cells", "blob"], f"key = {-1 - fields.index(field)}")
            for terms, blob in zip(table["cells"].to_pylist(), table["blob"].to_pylist(), strict=True):
                return json.loads(terms), np.frombuffer(blob, "<f4").reshape(-1, dim)
        return [], np.empty((0, dim), np.float32)

    def search_text(self, query: str, k: int | None) -> tuple[Keys, Floats]:
        from lance.query import MultiMatchQuery

        words = " ".join(re.findall('"([^"]*)"', fts_query(query)))
        match = MultiMatchQuery(words, ["title", "words"], boosts=[3.0, 1.0])
        columns = ["key", "alive", "_score"]
        table = self.dataset.scanner(columns=columns, full_text_query=match, limit=self.count() + 1).to_table()
        table = table.filter(pc.fill_null(table["alive"], False))
        table = table.sort_by([("_score", "descending"), ("key", "ascending")])[:k]
        return _numpy(table["key"], np.int64), _numpy(table["_score"], np.float64)

    def embedded_digests(self, ids: Sequence[str], field: str) -> list[str | None]:
        if field not in self.info.fields:
            return [None] * len(ids)
        keys = self.keys_of(ids)
        column = self._column("digest", field)
        digests = self._take(list(keys.values()), [column])[column].to_pylist()
        by_id = dict(zip(keys, digests, strict=True))
        return [by_id.get(id) for id in ids]

    def changed_rows(self, rows: Sequence[Row]) -> list[Row]:
        keys = self.keys_of([row["id"] for row, _ in zip(rows, encode_ids(rows), strict=True)])
        present = [row for row in rows if row["id"] in keys]
        stored = self.rows([keys[row["id"]] for row in present])
        merged = [merge_cells(old, row) for old, row in zip(stored, present, strict=True)]
        return [new for old, new in zip(stored, merged, strict=True) if encode_cells(old) != encode_cells(new)]

    def nearest(
        self, field: str, query: Floats, k: int, where: str | None, settings: Mapping[str, Any]
    ) -> tuple[Keys, Floats]:
        """The k nearest rows that meet a condition in the language of the store, best first, with exact scores.

        Rows whose scores differ by less than a float32 can tell are fetched together and ranked in float64.
        """
        info, is_exact = self.info.field_info(field), not settings["use_index"]
        metric = "l2" if info.metric == "euclidean" else "dot"
        fetched = min(k + _MARGIN * is_exact, max(1, self.count()))
        while True:
            nearest = {"column": (column := self._column("vector", field)), "q": query.astype(np.float32), "k": fetched}
            scanner = self.dataset.scanner(
                columns=["key", "alive", column, "_distance"], nearest={**nearest, "metric": metric, **settings},
                filter=where, prefilter=True,
            )  # fmt: skip
            table = scanner.to_table()
            keys, values = self._decode(table.filter(pc.fill_null(table["alive"], False)), field)
            scores = Vectors(values, info.metric).rescore(np.arange(len(keys)), query)
            order = np.lexsort((keys, -scores))
            if is_exact and len(table) == fetched < self.count():
                kth = scores[order[min(k, len(order)) - 1]] if len(order) else -np.inf
                longest = float(np.square(values, dtype=np.float64).sum(1).max(initial=1e-30))
                length = longest + float(query @ query) if metric == "l2" else math.sqrt(longest * (query @ query))
                if len(order) < k or kth - scores.min() <= 4 * relative_error(info.dim) * length:
                    fetched = min(4 * fetched, self.count())
                    continue
            return keys[order[:k]], scores[order[:k]]

    def vectors_at(self, field: str, keys: Sequence[int]) -> tuple[Keys, Float32s]:
        """The vectors of those rows of some keys that have one, in their order."""
        return self._decode(self._take(keys, [self._column("vector", field)]), field)

    def expression(self, condition: Condition) -> str | None:
        """A condition in the language of the store, never null; None if only the cells can tell.

        Raises:
            UsageError: see `check_types`.
        """
        if not isinstance(condition, Comparison):
            parts = [self.expression(part) for part in condition.parts]
            if any(part is None for part in parts):
                return None
            return f"(not {parts[0]})" if condition.op == "not" else f"({f' {condition.op} '.join(map(str, parts))})"
        kinds = ["text"] if condition.name == "id" else self.ledger.kinds.get(condition.name, [])
        if condition.op == "like" or "other" in kinds or not all(map(is_exact, condition.values)):
            return None
        check_types(condition, {type for type, kind in KINDS.items() if kind in kinds and type is not int})
        position = -1 if condition.name == "id" else list(self.info.columns).index(condition.name)
        names = {kind: "id" if position < 0 else f"{kind}_{position}" for kind in kinds}
        if condition.op == "exists":
            tests = [f"{name} is not null" for name in names.values()]
        else:
            values = {kind: [value for value in condition.values if KINDS[type(value)] == kind] for kind in kinds}
            tests = [
                f"({names[kind]} is not null and {names[kind]} {condition.op} "
                + (f"({_literals(literals)}))" if condition.op == "in" else f"{_literals(literals)})")
                for kind, literals in values.items()
                if literals
            ]
        return f"({' or '.join(tests)})" if tests else "false"

    @cached_property
    def _order(self) -> tuple[Keys, Keys]:
        """The keys of all rows, ascending, and the addresses of the rows in the table."""
        table = self.dataset.scanner(columns=["key", "alive"], with_row_id=True).to_table()
        table = table.filter(pc.fill_null(table["alive"], False)).sort_by("key")
        return _numpy(table["key"], np.int64), _numpy(table["_rowid"], np.int64)

    def _column(self, kind: str, field: str) -> str:
        return f"{kind}_{list(self.info.fields).index(field)}"

    def _table(self, columns: Sequence[str], where: str | None = None) -> Any:
        return self.dataset.scanner(columns=list(columns), filter=where).to_table()

    def _take(self, keys: Sequence[int] | Keys, columns: Sequence[str]) -> Any:
        """Some columns of the rows of some keys, in their order."""
        ascending, addresses = self._order
        rows = addresses[np.searchsorted(ascending, keys)]
        # By address, since Lance's `take` counts past each deleted row, which may take seconds.
        tables = [
            self._table(["key", *columns], f"_rowid in ({_literals(rows[start : start + _BLOCK_ROWS].tolist())})")
            for start in range(0, len(rows), _BLOCK_ROWS)
        ]
        table = pa.concat_tables(tables) if tables else self._table(["key", *columns], "false")
        present = _numpy(table["key"], np.int64)
        order = np.argsort(present)
        return table.take(order[np.searchsorted(present, keys, sorter=order)])

    def _blocks(self, columns: Sequence[str]) -> Iterator[Any]:
        """Some columns of all rows in row order, block by block."""
        for start in range(0, self.count(), _BLOCK_ROWS):
            yield self._take(self.keys()[start : start + _BLOCK_ROWS], columns)

    def _decode(self, table: Any, field: str) -> tuple[Keys, Float32s]:
        """The keys and vectors of those rows of a table that have a vector."""
        info, column = self.info.field_info(field), self._column("vector", field)
        table = table.filter(pc.is_valid(table[column])).combine_chunks()
        values = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in table[column].chunks]
        vectors = np.concatenate([np.empty(0, np.float32), *values]).reshape(-1, info.dim)
        keys = _numpy(table["key"], np.int64)
        if len(wrong := np.flatnonzero(~is_storable(vectors, info.metric))):
            kind = "finite and of length 1" if info.metric == "cosine" else "finite"
            raise DamagedError(self.uri, f"the vector of row {keys[wrong[0]]} is not {kind}", "make the index again")
        return keys, vectors


def index_settings(probes: int, is_filtered: bool = False) -> dict[str, Any]:
    """How a search reads an inverted file: so many lists, and under a condition as many more as Lance finds it needs.

    The nearest rows that meet a condition are farther away, so that the lists nearest to the query may lack them.
    """
    limit = {} if is_filtered else {"maximum_nprobes": probes}
    return {"use_index": True, "minimum_nprobes": probes, "refine_factor": _REFINE, **limit}


def is_exact(value: Value) -> bool:
    """Whether the store compares a value as Python does."""
    if isinstance(value, str):
        return is_unicode(value) and "\0" not in value
    return math.isfinite(value) and (isinstance(value, float) or abs(value) <= _EXACT_INTEGERS)


def is_unicode(text: str) -> bool:
    return not any("\ud800" <= sign <= "\udfff" for sign in text) if not text.isascii() else True


def _literals(values: Sequence[Value]) -> str:
    return ", ".join(
        "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value).lower() for value in values
    )


def _numpy(column: Any, dtype: Any) -> Any:
    return column.to_numpy().astype(dtype)
