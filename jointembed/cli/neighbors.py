"""Write the nearest neighbors of every item or row as Parquet."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError, did_you_mean
from ..files import check_writable, write
from ..files import make_dir as make
from ..index.index import Index
from ..index.where import unmet

BLOCK = 8_192  # queries that are kept at once


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
        trust: a package whose encoders and readers the model may import.
    """
    check_writable(out, "a table", ".parquet")
    if queries is None:
        of_rows = {"exclude": exclude, "column": column, "split": None if split == "all" else split, "trust": trust}
        for name in (name for name, given in of_rows.items() if given is not None):
            raise UsageError(
                f"--{name}", "it applies only to a table of queries", f"give --queries, or leave --{name} out"
            )
    if k < 1:
        raise UsageError("k", f"must be at least 1, got {k}", "use a whole number from 1 on")
    import pyarrow as pa
    from pyarrow import parquet
    from rich.progress import track

    with Index.open(index) as opened, opened.reading(), contextlib.ExitStack() as stack:
        if where is not None and (available := opened.count(where, field)) < k:
            if not available:
                raise unmet(where)
            print(f"only {available} items meet the condition, so no list is longer", file=sys.stderr)
        count, block = (
            _items(opened, field)
            if queries is None
            else _rows(opened, queries, column, split, field, trust or [], exclude)
        )
        asked = (opened.state, _stamp(queries), column, k, exclude, where, one_per, field)
        folder = stack.enter_context(_kept(out, repr((asked, split))))
        names = np.array([_utf8(id) for id in opened.ids(field)], dtype=object)
        schema = pa.schema({"id": pa.string(), "neighbors": pa.list_(pa.string()), "scores": pa.list_(pa.float64())})
        parts = [folder / f"{at:08}.parquet" for at in range(0, count, BLOCK)]
        for part in track(parts, "Neighbors", disable=not sys.stderr.isatty()):
            if part.exists():
                continue
            told, vectors, seen = block(int(part.stem))
            places, values = opened.search_batch(vectors, k, field, where, seen, one_per=one_per)
            near = [names[row[row >= 0]] for row in places]
            scores = [value[row >= 0] for row, value in zip(places, values, strict=True)]
            table = pa.table({"id": list(map(_utf8, told)), "neighbors": near, "scores": scores}, schema)
            write(part, partial(parquet.write_table, table))
        whole = pa.concat_tables([schema.empty_table(), *map(parquet.read_table, parts)])
        write(out, partial(parquet.write_table, whole))
    print(f"{out}: {len(whole)} {'items' if queries is None else 'rows'}, at most {k} neighbors each")


_Block = Callable[[int], tuple[list[str], NDArray[np.float32], list[list[str]]]]


def _items(index: Index, column: str | None) -> tuple[int, _Block]:
    """How many items ask, and what gives a block of them: their ids, vectors, and what each may not find: itself."""
    ids, vectors = index.vectors(column)

    def block(at: int) -> tuple[list[str], NDArray[np.float32], list[list[str]]]:
        part = ids[at : at + BLOCK]
        return part, vectors[at : at + BLOCK], [[one] for one in part]

    return len(ids), block


def _rows(
    index: Index, table: str, column: str | None, split: str, field: str | None, trust: list[str], exclude: str | None
) -> tuple[int, _Block]:
    """The same of a table's rows, by the model of the index."""
    from ..data.table import open_as_trained
    from ..indexing.from_table import first, present
    from ..indexing.index_encoder import Model

    model = Model(index.field_info(field)["model"], trust)
    model.matches(index, field)
    rows = open_as_trained(table, model.file, add_split=split != "all")
    name = column or first(model.space, rows)
    if exclude is not None and exclude not in rows.columns:
        raise UsageError("exclude", f"the table has no column {exclude}", did_you_mean(exclude, rows.columns))
    listed = present(model.space, rows, name, split)

    def block(at: int) -> tuple[list[str], NDArray[np.float32], list[list[str]]]:
        part = listed[at : at + BLOCK]
        seen = [row.get(exclude) if exclude else None for row, _ in part]
        lists = [one if isinstance(one, list | tuple) else [] if one is None else [one] for one in seen]
        vectors = model.embed(name, [cell for _, cell in part])
        return [row["id"] for row, _ in part], vectors, [[str(one) for one in some] for some in lists]

    return len(listed), block


def _utf8(id: str) -> str:
    r"""An id as parquet can hold it: of a file name that is no UTF-8, the other bytes are written as \udcXX."""
    return id.encode("utf-8", "backslashreplace").decode()


def _stamp(table: str | None) -> object:
    """What tells that a table is still the same."""
    if table is None:
        return None
    path = Path(table)
    found = [path] if path.is_file() else sorted(path.glob("rows.*"))
    return [(str(one.absolute()), one.stat().st_size, one.stat().st_mtime_ns) for one in found]


@contextlib.contextmanager
def _kept(out: str, wishes: str) -> Iterator[Path]:
    """Where what is finished is kept until all is; what was for another index, or for other wishes, is removed.

    The folder is locked meanwhile, which the system undoes when a process dies.

    Raises:
        UsageError: another process is writing the same file, or it cannot be written there.
    """
    import fcntl

    folder = Path(f"{out}.{hashlib.blake2b(wishes.encode(), digest_size=6).hexdigest()}.parts").absolute()
    old = [one for one in folder.parent.glob(f"{glob.escape(Path(out).name)}.*.parts") if one != folder]
    with contextlib.ExitStack() as held:
        for one in (*old, make(folder)):
            try:
                held.callback(os.close, handle := os.open(one, os.O_RDONLY))
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, FileNotFoundError):  # at work, or just done
                wrong = "another process is writing it"
                raise UsageError(out, wrong, "wait until it has finished, or write another file") from None
        for one in old:
            shutil.rmtree(one)
        yield folder
        shutil.rmtree(folder)
