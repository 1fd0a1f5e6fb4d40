"""What the page loads of a large index, in few bytes: positions on the map in 16 bits, columns as arrays.

Letters: N rows.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

MISSING = 65_535  # the quantized coordinate of a row that is not on the map
_STEPS = MISSING - 1
_NO_INT = -(2**31)
_MAX_DECIMALS = 6
_ALIGNMENT = 8


def quantize(points: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Coordinates in [-1, 1] as 65,535 steps, (N, 3); only x and y, (N, 2), where z is 0 throughout."""
    flat = points if np.nan_to_num(points[:, 2]).any() else points[:, :2]
    steps = np.round((np.nan_to_num(flat) + 1) / 2 * _STEPS).astype("<u2")
    steps[np.isnan(flat).any(1)] = MISSING
    return steps


def pack_column(column: dict[str, Any]) -> bytes:
    """A column of `export.column_values` as bytes: the length of a JSON header (uint32), the header, and an array.

    The header holds what the column holds beside its array, and `type`, the type of the array:

    - a category has its codes as int8, -1 for none; if a row has several, they are the concatenated codes of all rows
      after N + 1 uint32 offsets, and `lists` is N;
    - numbers are int32 divided by `scale`, -2 ** 31 for none, if that is exact, else float32 or float64, NaN for none;
    - texts are in the header.
    """
    header = {key: value for key, value in column.items() if key != "codes"}
    payload = b""
    if column["kind"] == "category":
        codes = column["codes"]
        if any(isinstance(code, list) for code in codes):
            lists = [code if isinstance(code, list) else [code] if code >= 0 else [] for code in codes]
            offsets = np.cumsum([0, *map(len, lists)]).astype("<u4")
            flat = np.array([code for each in lists for code in each], np.int8)
            payload, header["lists"] = offsets.tobytes() + flat.tobytes(), len(codes)
        else:
            payload = np.array(codes, np.int8).tobytes()
        header["type"] = "int8"
    elif column["kind"] == "number":
        numbers, scale = _pack_numbers(np.array(header.pop("values"), np.float64))
        payload = numbers.tobytes()
        header |= {"type": numbers.dtype.name, "scale": scale}
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-(4 + len(text)) % _ALIGNMENT)
    return len(text).to_bytes(4, "little") + text + payload


def _pack_numbers(values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[Any], int]:
    """Numbers in the smallest type that holds them exactly, and what they are to be divided by."""
    present = values[~np.isnan(values)]
    for decimals in range(_MAX_DECIMALS + 1):
        scale = 10**decimals
        scaled = np.round(present * scale)
        if len(scaled) and np.abs(scaled).max() >= -_NO_INT:
            break
        if np.array_equal(scaled / scale, present):
            packed = np.full(len(values), _NO_INT, "<i4")
            packed[~np.isnan(values)] = scaled
            return packed, scale
    with np.errstate(over="ignore"):
        single = values.astype("<f4")
    exact = np.array_equal(single.astype(np.float64), values, equal_nan=True)
    return (single if exact else values.astype("<f8")), 1
