"""Writes a model as a folder that anybody can load: weights, configuration, golden vectors and a model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import files
from ..space import exported, golden
from ..space.space import Space
from .model_card import About, make_card


def export_model(content: Mapping[str, Any], space: Space, folder: Path, about: About) -> list[str]:
    """Write a model as a folder; see `space.exported` for its files.

    Args:
        content: of a checkpoint of the model.
        space: of the model, with its weights.
        folder: to write; it must not exist.
        about: what the model card says besides.

    Returns:
        The columns without golden vectors, because their readers make no example cells.

    Raises:
        UsageError: the folder exists, or cannot be written.
        DamagedError: an evaluation card in the folder of the run cannot be read.
        MismatchError: an evaluation card is that of another model.
    """
    exported.check_free(folder)
    card, columns = make_card(content, space, about), golden.compute(space)
    exported.write(folder, content, columns, lambda part: files.write(part / exported.CARD, card))
    return [column for column in [*space.columns, *space.fusions] if column not in columns]
