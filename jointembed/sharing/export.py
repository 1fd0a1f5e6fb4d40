"""Models as folders that anybody can load: weights, configuration, golden vectors and a model card."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from .. import files
from ..space import checkpoint, exported, golden
from ..space.model_folder import TABLE
from ..space.space import Space
from . import onnx_graphs
from .model_card import About, make_card
from .onnx_graphs import Result, check_installed, write_graphs


def export_model(
    content: Mapping[str, Any], space: Space, folder: Path, about: About, onnx: bool = False, int8: bool = False
) -> tuple[list[str], list[Result]]:
    """Write a model as a folder; see `space.exported` for its files.

    Args:
        content: of a checkpoint of the model.
        space: of the model, with its weights.
        folder: to write; it must not exist.
        about: what the model card says besides.
        onnx: write graphs of the columns too; see `onnx_graphs`.
        int8: write graphs that compute in 8-bit integers too.

    Returns:
        The columns without golden vectors, because their readers make no example cells; and what became of the graphs.

    Raises:
        UsageError: the folder exists, or cannot be written.
        DamagedError: an evaluation card in the folder of the run cannot be read.
        MismatchError: an evaluation card is that of another model.
    """
    exported.check_free(folder)
    if onnx:
        check_installed()
    columns = golden.compute(space)
    results: list[Result] = []

    def finish(part: Path) -> None:
        if onnx:
            table = content.get(TABLE)
            results.extend(write_graphs(space, columns, part / onnx_graphs.FOLDER, int8, table))
        files.write(part / exported.CARD, make_card(content, space, about, results))

    exported.write(folder, content, columns, finish)
    return [column for column in [*space.columns, *space.fusions] if column not in columns], results


def import_model(folder: Path, path: Path, trust: Collection[str] = ()) -> Space:
    """Write an exported model as the checkpoint that it was, and return its space.

    Args:
        folder: the exported model.
        path: the checkpoint.
        trust: packages whose encoders and readers may be imported.

    Raises:
        UsageError, UnsafeError, DamagedError, MismatchError: see `Space.load`.
    """
    space = Space.load(folder, trust)
    content = checkpoint.read(folder)
    checkpoint.write(path, {name: value for name, value in content.items() if name != exported.GOLDEN})
    return space
