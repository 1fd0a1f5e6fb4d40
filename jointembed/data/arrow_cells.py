"""The cells of Arrow columns: as Python objects, or as flat elements without an object for each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..values import to_plain

# B cells, P elements

KIND = b"jointembed"  # metadata of a column: how its cells are stored
JSON_CELLS = b"json"  # as the text of JSON
PLAIN_LISTS = b"lists"  # as lists of numbers that are Python lists, not arrays


def field_kind(field: Any) -> bytes:
    """How the cells of a column are stored: `JSON_CELLS`, `PLAIN_LISTS`, or b"" for Arrow's own way."""
    kind: bytes = (field.metadata or {}).get(KIND, b"")
    return kind


def is_list(type: Any) -> bool:
    """Whether the cells of an Arrow type are lists."""
    from pyarrow import types

    return bool(types.is_list(type) or types.is_large_list(type) or types.is_fixed_size_list(type))


def has_contents(type: Any) -> bool:
    """Whether the cells of an Arrow type are files as `datasets` keeps them, {"bytes", "path"}, or lists of them."""
    from pyarrow import types

    if is_list(type):
        return has_contents(type.value_type)
    return bool(types.is_struct(type)) and {field.name for field in type} == {"bytes", "path"}


def is_number(type: Any) -> bool:
    """Whether an Arrow type is of integers or floats."""
    from pyarrow import types

    return bool(types.is_integer(type) or types.is_floating(type))


def has_elements(field: Any) -> bool:
    """Whether `split_cells` can read a column: text, numbers, booleans and dates, and lists of text or of numbers."""
    from pyarrow import types

    if field_kind(field) == JSON_CELLS:
        return False
    type, in_list = (field.type.value_type, True) if is_list(field.type) else (field.type, False)
    if types.is_dictionary(type):
        type = type.value_type
        if in_list and is_number(type):
            return False
    simple = types.is_string(type) or types.is_large_string(type) or types.is_integer(type)
    simple |= types.is_float32(type) or types.is_float64(type)
    return bool(simple or (not in_list and (types.is_boolean(type) or types.is_date32(type))))


def plain_type(type: Any) -> Any:
    """The Arrow type of cells as `plain_cells` gives them."""
    import pyarrow as pa
    from pyarrow import types

    if types.is_decimal(type):
        return pa.int64() if type.scale <= 0 else pa.float64()
    if types.is_duration(type):
        return pa.float64()
    if types.is_timestamp(type) and type.unit == "ns":
        return pa.timestamp("us", type.tz)
    if types.is_time(type) and type.unit == "ns":
        return pa.time64("us")
    if isinstance(type, pa.BaseExtensionType):
        return pa.string() if type.extension_name == "arrow.uuid" else plain_type(type.storage_type)
    if types.is_list(type) or types.is_large_list(type) or types.is_fixed_size_list(type):
        plain = plain_type(type.value_type)
        return type if plain == type.value_type else pa.list_(plain)
    if types.is_struct(type):
        plain = pa.struct([field.with_type(plain_type(field.type)) for field in type])
        return type if plain == type else plain
    return type


def plain_cells(cells: Any) -> Any:
    """An Arrow array, or chunks of it, with cells that every reader takes; the same where they are so already.

    Decimals become numbers, durations seconds, UUIDs text, and times have microseconds at most; see `values.to_plain`.
    """
    import pyarrow as pa
    from pyarrow import compute, types

    type, plain = cells.type, plain_type(cells.type)
    if plain == type:
        return cells
    if types.is_decimal(type):
        return cells.cast(plain)
    if types.is_timestamp(type) or types.is_time(type):
        return cells.cast(plain, safe=False)
    if types.is_duration(type):
        units = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
        return compute.divide(cells.cast(pa.int64()).cast(pa.float64(), safe=False), units[type.unit])
    chunks = cells.chunks if isinstance(cells, pa.ChunkedArray) else [cells]
    arrays = [pa.array(map(to_plain, chunk.to_pylist()), plain) for chunk in chunks]
    return pa.chunked_array(arrays, plain) if isinstance(cells, pa.ChunkedArray) else arrays[0]


def split_cells(cells: Any) -> tuple[Any, NDArray[np.int64] | None]:
    """The elements (P,) of an Arrow array of cells (B,), and how many are in each (B,); None where cells are scalar."""
    from pyarrow import compute

    if not is_list(cells.type):
        return _decode(cells), None
    counts = compute.fill_null(compute.list_value_length(cells), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return _decode(cells.flatten()), counts


def _decode(array: Any) -> Any:
    from pyarrow import types

    return array.dictionary_decode() if types.is_dictionary(array.type) else array


def to_objects(column: Any, kind: bytes = b"") -> Sequence[Any]:
    """The cells of an Arrow column as Python objects; lists of numbers as arrays that share its memory.

    A list with a missing number is a list with None, as from a .jsonl file.

    Args:
        column: a ChunkedArray.
        kind: see `field_kind`.
    """
    import pyarrow as pa

    if kind == JSON_CELLS:
        return [None if cell is None else json.loads(cell) for cell in column.to_pylist()]
    type = column.type
    if kind == PLAIN_LISTS or not is_list(type) or not is_number(type.value_type):
        return list(column.to_pylist())
    cells: list[Any] = []
    for chunk in column.chunks:
        # The values of a missing cell are null, which would turn integers into floats.
        integer = pa.types.is_integer(type.value_type)
        flat = (chunk.values.fill_null(0) if integer else chunk.values).to_numpy(zero_copy_only=False)
        if pa.types.is_fixed_size_list(type):
            bounds = (np.arange(len(chunk) + 1) + chunk.offset) * type.list_size
        else:
            bounds = chunk.offsets.to_numpy()
        valid = chunk.is_valid().to_numpy(zero_copy_only=False)
        places = zip(bounds[:-1].tolist(), bounds[1:].tolist(), valid.tolist(), strict=True)
        if not chunk.values.null_count:
            cells += [flat[a:b] if ok else None for a, b, ok in places]
            continue
        filled = chunk.values.is_valid().to_numpy(zero_copy_only=False)
        cells += [
            (flat[a:b] if filled[a:b].all() else chunk.values[a:b].to_pylist()) if ok else None for a, b, ok in places
        ]
    return cells
