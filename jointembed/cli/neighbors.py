"""Write the nearest neighbors of every item or row as Parquet."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..index.index import Index

QUERIES_IN_PART = 8_192  # finished parts survive an interruption


def neighbors(
    index: str,
    out: str,
    *,
    queries: str | None = None,
    column: str | None = None,
    k: int = 10,
    exclude: str | None = None,
    where: str | None = None,
    one_per: str | None = None,
    field: str | None = None,
    split: str = "all",
    strict: bool = False,
    encoding: str | None = None,
    device: str = "auto",
    trust: list[str] | None = None,
) -> None:
    """Write the k nearest neighbors of every item of an index, or of every row of a table: id, neighbors, scores.

    An interrupted run resumes where it stopped.

    Args:
        index: the index.
        out: the .parquet file to write.
        queries: a table whose rows are the queries, embedded by the index's model; the items themselves if not given.
        column: the model's column of the queries; the first that the table has if not given.
        k: the number of neighbors.
        exclude: a column of the queries with ids that are not wanted, such as what a user has seen.
        where: only neighbors that meet this condition, such as "genre = 'waltz' and tempo > 120".
        one_per: at most one neighbor for each value of this column, such as artist.
        field: the field of the index to search; the first if not given.
        split: the rows of the table of this split only; all if not given.
        strict: exit with 3 if files of the table cannot be read, instead of leaving their rows out.
        encoding: of a .csv file that is not in Unicode, such as cp1250 or shift_jis.
        device: what computes: auto (an accelerator if there is one), cpu, cuda, cuda:1, mps.
        trust: a package whose encoders and readers the model may import.
    """
    import sys

    from ..errors import UsageError
    from ..files import check_not_input, check_writable, expand_user

    check_writable(out, "a table", ".parquet")
    check_not_input(out, queries and expand_user(queries))
    if queries is None:
        options = {"exclude": exclude, "column": column, "split": split != "all", "trust": trust}
        of_rows: dict[str, Any] = options | {"device": device != "auto", "strict": strict}
        for name, value in of_rows.items():
            if value:
                fix = f"give --queries, or leave --{name} out"
                raise UsageError(f"--{name}", "it applies only to a table of queries", fix)
    if k < 1:
        raise UsageError("k", f"must be at least 1, got {k}", "use a positive integer")
    import numpy as np
    import pyarrow as pa

    from ..index.index import Index
    from ..index.where import no_match
    from ..values import escape_surrogates
    from .parts_file import write_in_parts

    with Index.open(index) as opened, opened.reading():
        if where is not None and (available := opened.count(where, field)) < k:
            if not available:
                raise no_match(where)
            print(f"only {available} items meet the condition, so no list is longer", file=sys.stderr)
        search = opened.search_batch
        search(opened.vectors(field)[1][:0], k, field, where, [], one_per=one_per)  # checks all before a folder is made
        if queries is None:
            count, read = _item_queries(opened, field)
        else:
            count, read = _row_queries(
                opened, queries, column, split, field, trust or [], device, exclude, strict, encoding
            )
            search = partial(search, torch=sys.modules.get("torch"))  # where the model has loaded it, for bfloat16
        queried = (_table_signature(queries), encoding, column, split, exclude)
        signature = (opened.version, queried, k, where, one_per, field)
        ids = np.array([escape_surrogates(id) for id in opened.ids(field)], dtype=object)
        schema = pa.schema({"id": pa.string(), "neighbors": pa.list_(pa.string()), "scores": pa.list_(pa.float64())})

        def compute(start: int) -> pa.Table:
            query_ids, vectors, excluded = read(start)
            places, values = search(vectors, k, field, where, excluded, one_per=one_per)
            nearest = [ids[row[row >= 0]] for row in places]
            scores = [value[row >= 0] for row, value in zip(places, values, strict=True)]
            columns = {"id": list(map(escape_surrogates, query_ids)), "neighbors": nearest, "scores": scores}
            return pa.table(columns, schema)

        whole = write_in_parts(out, count, QUERIES_IN_PART, signature, "Neighbors", compute, schema)
    print(f"{out}: {len(whole)} {'items' if queries is None else 'rows'}, at most {k} neighbors each")


# Reads a part of the queries: their ids, their vectors, and the ids that each must not find.
_Read = Callable[[int], tuple[list[str], Any, list[list[str]]]]


def _item_queries(index: Index, field: str | None) -> tuple[int, _Read]:
    """The number of items of a field, and how to read a part of them; no item finds itself."""
    ids, vectors = index.vectors(field)

    def read(start: int) -> tuple[list[str], Any, list[list[str]]]:
        end = start + QUERIES_IN_PART
        return ids[start:end], vectors[start:end], [[id] for id in ids[start:end]]

    return len(ids), read


def _row_queries(
    index: Index,
    table: str,
    column: str | None,
    split: str,
    field: str | None,
    trust: list[str],
    device: str,
    exclude: str | None,
    strict: bool,
    encoding: str | None,
) -> tuple[int, _Read]:
    """The number of rows of a table, and how to read a part of them, embedded by the model of the index.

    Rows whose files cannot be read are left out of their part, so that the others stay in theirs.
    """
    from ..data.trained import open_as_trained
    from ..errors import UsageError, did_you_mean
    from ..indexing.query_encoder import open_encoder
    from ..indexing.table_cells import first_column
    from ..indexing.table_parts import TableParts
    from ..readers import Category
    from ..values import items

    encoder = open_encoder(index, field, trust, device=device)
    rows = open_as_trained(table, encoder.file, split != "all", encoding)
    name = column or first_column(encoder.space, rows)
    if exclude is not None and exclude not in rows.columns:
        raise UsageError("--exclude", f"the table has no column {exclude}", did_you_mean(exclude, rows.columns))
    parts = TableParts(encoder.space, rows, name, split, strict)

    def read(start: int) -> tuple[list[str], Any, list[list[str]]]:
        part, vectors = parts.embed(start, QUERIES_IN_PART, partial(encoder.embed, name))
        unwanted = [items(row.get(exclude)) if exclude else [] for row in part]
        return [row["id"] for row in part], vectors, [[Category.name(id) for id in ids] for ids in unwanted]

    return len(parts), read


def _table_signature(table: str | None) -> object:
    """The files, sizes and times of a table, which change with it."""
    if table is None:
        return None
    path = Path(table)
    files = [path] if path.is_file() else sorted(path.glob("rows.*"))
    return [(str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
