"""Golden vectors: a few cells of each column with the vectors that a model gave them when it was exported.

Whoever loads the model computes them again, so that damaged weights, or a library that computes something else, are
noticed before anything is searched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DamagedError, UnsafeError, UserError
from .model_folder import COPY_AGAIN, FolderWriter, read_json, to_json

# N cells, D dimension

TOLERANCE = 1e-3  # distance of a vector from the golden one, as a share of its length: other processors round otherwise
MAX_CELLS = 16  # in a column
ARRAY = "$array"
FILES = CELLS, ARRAYS = "golden.json", "golden.safetensors"

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Golden:
    """Cells of a column, and their vectors (N, D)."""

    cells: list[Any]
    vectors: Vectors


def compute(space: Any) -> dict[str, Golden]:
    """The golden vectors of each column of a `Space` whose readers can make cells."""
    columns = {}
    for column in [*space.columns, *space.fusions]:
        cells = _example_rows(space, column) if column in space.fusions else space.reader(column).example_cells()
        try:
            columns[column] = Golden(cells, space.embed(column, cells))
        except UserError:  # a custom reader that makes no cells, or cells that it does not read
            continue
    return {column: golden for column, golden in columns.items() if golden.cells}


def _example_rows(space: Any, fusion: str) -> list[dict[str, Any]]:
    """Rows of a fusion: with all parts, and with each alone."""
    alone: list[dict[str, Any]] = []
    for part in space.fusions[fusion]:
        reader = space.reader(part)
        for cell in reader.example_cells()[:1]:
            alone.append(dict(cell) if reader.columns else {part: cell})
    whole = {name: cell for row in alone for name, cell in row.items()}
    return [whole, *alone][:MAX_CELLS] if alone else []


def check(space: Any, columns: Mapping[str, Golden], file: Path) -> None:
    """Compare the vectors that a `Space` gives with the golden ones.

    Raises:
        UnsafeError: a cell names a file.
        DamagedError: a vector differs.
    """
    for column, golden in columns.items():
        if column not in space.columns and column not in space.fusions:
            raise DamagedError(file, f"it has golden vectors of {column}, which is not a column of it", COPY_AGAIN)
        if golden.vectors.shape != (len(golden.cells), space.dim) or len(golden.cells) > MAX_CELLS:
            wrong = f"its golden vectors of {column} have the shape {golden.vectors.shape}"
            raise DamagedError(file, wrong, COPY_AGAIN)
        for cell in golden.cells:
            _refuse_files(space, column, cell, file)
        try:
            z = space.embed(column, golden.cells)
        except UserError as error:
            wrong = f"its golden cells of {column} cannot be read ({error.problem})"
            raise DamagedError(file, wrong, COPY_AGAIN) from error
        lengths = np.linalg.norm(golden.vectors, axis=1).clip(min=1e-30)
        difference = (np.linalg.norm(z - golden.vectors, axis=1) / lengths).max()
        if not difference <= TOLERANCE:
            wrong = f"its vectors of {column} are not those of its export: they differ by {difference:.2g}"
            raise DamagedError(file, wrong, f"{COPY_AGAIN}, or install the versions that its README names")


def _refuse_files(space: Any, column: str, cell: Any, file: Path) -> None:
    """A stranger's cell must not make this computer open a file: cells of readers of files are arrays."""
    parts = space.fusions.get(column) or [column]
    for part in parts:
        part_cell = cell.get(part) if column in space.fusions and isinstance(cell, dict) else cell
        if space.reader(part).reads_files and not isinstance(part_cell, np.ndarray | None):
            raise UnsafeError(file, f"a golden cell of {part} is not an array, but may name a file", COPY_AGAIN)


def write(columns: Mapping[str, Golden], writer: FolderWriter) -> None:
    """Write golden vectors into the folder of a model: the cells as JSON, and the arrays that it names."""
    from safetensors.numpy import save

    arrays: dict[str, NDArray[Any]] = {}
    plain = {}
    for column, golden in columns.items():
        cells = _put_arrays(golden.cells, arrays)
        plain[column] = {"cells": cells, "vectors": _put_arrays(golden.vectors, arrays)}
    writer.add(CELLS, to_json(plain))
    writer.add(ARRAYS, save(arrays))


def read(folder: Path) -> dict[str, Golden]:
    """Golden vectors from the folder of a model.

    Raises:
        DamagedError: the files cannot be read.
        KeyError: an array is missing.
        TypeError: something has another form.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays = load_file(folder / ARRAYS)
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedError(folder / ARRAYS, f"its arrays cannot be read ({error})", COPY_AGAIN) from error
    columns = {}
    for column, record in read_json(folder / CELLS).items():
        vectors = _take_arrays(record["vectors"], arrays)
        columns[str(column)] = Golden(list(_take_arrays(record["cells"], arrays)), np.asarray(vectors, np.float32))
    return columns


def _put_arrays(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    if isinstance(value, np.ndarray):
        name = str(len(arrays))
        arrays[name] = np.ascontiguousarray(value)
        return {ARRAY: name}
    if isinstance(value, dict):
        return {name: _put_arrays(item, arrays) for name, item in value.items()}
    return [_put_arrays(item, arrays) for item in value] if isinstance(value, list) else value


def _take_arrays(value: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {ARRAY}:
            return arrays[value[ARRAY]]
        return {name: _take_arrays(item, arrays) for name, item in value.items()}
    return [_take_arrays(item, arrays) for item in value] if isinstance(value, list) else value
