"""Tables that other libraries give as Arrow: polars, DuckDB, pyarrow, `datasets`, ibis and the like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..arrow_cells import has_contents, plain_cells, plain_type
from ..contents import ContentFolder

ROWS_IN_BATCH = 1000
SPLIT_NAMES = {"validation": "dev", "valid": "dev", "val": "dev", "eval": "dev", "development": "dev"}


def is_dataset(table: object) -> bool:
    """Whether an object is a `Dataset` or an `IterableDataset` of the library `datasets`, or acts like one."""
    return all(hasattr(type(table), name) for name in ("with_format", "iter", "features"))


def is_splits(table: object) -> bool:
    """Whether an object is a dict of such datasets by their splits."""
    return isinstance(table, Mapping) and bool(table) and all(map(is_dataset, table.values()))


def read_arrow(table: Any) -> Any:
    """A `pyarrow.Table` of a table in memory or of a query; None if its library does not give Arrow.

    A lazy table is computed.
    """
    import pyarrow as pa

    if hasattr(table, "collect") and hasattr(table, "collect_schema"):  # a LazyFrame of polars
        table = table.collect()
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    for method in ("to_arrow_table", "to_pyarrow", "to_arrow"):
        if not hasattr(table, "__arrow_c_stream__") and hasattr(table, method):
            table = getattr(table, method)()
    if isinstance(table, pa.RecordBatchReader):
        table = table.read_all()
    return make_plain(pa.table(table)) if hasattr(table, "__arrow_c_stream__") else None


def read_dataset(table: Any, contents: ContentFolder) -> Any:
    """A `pyarrow.Table` of a dataset, which may be streamed, or of a dict of datasets by split.

    The sounds and images in it are not decoded: they become files, if they are not files already. Labels are names.

    Args:
        table: see `is_dataset` and `is_splits`.
        contents: gets the files.
    """
    import pyarrow as pa

    splits = table if is_splits(table) else {None: table}
    parts = []
    for split, dataset in splits.items():
        for batch in _read_batches(dataset, contents):
            if split is not None:
                name = SPLIT_NAMES.get(split, split)
                batch = batch.append_column("split", pa.array([name] * len(batch), pa.string()))
            parts.append(batch)
    if not parts:
        return pa.table({})
    return make_plain(pa.concat_tables(parts, promote_options="permissive"))


def _read_batches(dataset: Any, contents: ContentFolder) -> Iterator[Any]:
    import pyarrow as pa

    for batch in dataset.with_format("arrow").iter(batch_size=ROWS_IN_BATCH):
        for place, field in enumerate(batch.schema):
            names = getattr((dataset.features or {}).get(field.name), "names", None)
            if names:
                labels = [
                    names[number] if number is not None and number >= 0 else None
                    for number in batch.column(place).to_pylist()
                ]
                batch = batch.set_column(place, field.name, pa.array(labels, pa.string()))
            elif has_contents(field.type):
                cells = [contents.replace(cell) for cell in batch.column(place).to_pylist()]
                batch = batch.set_column(place, field.name, pa.array(cells))
        yield batch


def make_plain(arrow: Any) -> Any:
    """An Arrow table whose cells every reader takes; see `plain_cells`."""
    for place, field in enumerate(arrow.schema):
        if (plain := plain_type(field.type)) != field.type:
            arrow = arrow.set_column(place, field.with_type(plain), plain_cells(arrow.column(place)))
    return arrow
