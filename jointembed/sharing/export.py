"""Writes a model as a folder that anybody can load: weights, configuration, golden vectors and a model card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..space import exported, golden
from ..space.space import Space

Finish = Callable[[Path], None]


def export_model(
    content: Mapping[str, Any], space: Space, folder: Path, finish: Finish = lambda folder: None
) -> list[str]:
    """Write a model as a folder; see `space.exported` for its files.

    Args:
        content: of a checkpoint of the model.
        space: of the model, with its weights, on the CPU.
        folder: to write; it must not exist.
        finish: writes further files into the folder that it is given, before it takes its place.

    Returns:
        The columns without golden vectors, because their readers make no example cells.

    Raises:
        UsageError: the folder exists, or cannot be written.
    """
    columns = golden.compute(space)
    exported.write(folder, content, columns, finish)
    return [column for column in [*space.columns, *space.fusions] if column not in columns]
