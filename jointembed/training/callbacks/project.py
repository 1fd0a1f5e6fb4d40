"""The callback that leaves the vectors of a run as a folder for TensorBoard's projector."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, cast

import lightning
import numpy as np
from lightning.pytorch.callbacks import Callback

from ...arguments import CheckedArguments, Count
from ...data.table import TableData
from ...display import are_labels, displayable_cells
from ...errors import UsageError
from ...sharing import tensorboard
from ..joint_embedding import JointEmbedding

FOLDER = "projector"


class Project(CheckedArguments, Callback):
    """Writes vectors into RUN/projector when training ends, for `tensorboard --logdir RUN/projector`.

    Each point has the cells of its row, and its image where the cell is one; bookmarks color the points by the columns
    of labels. `jointembed projector` writes the same of an index, with predictions beside the labels.

    Args:
        column: whose vectors are shown.
        split: of the rows that are shown.
        max_points: a random sample of at most this many rows.
    """

    def __init__(self, column: str, split: str = "dev", max_points: Count = 5000) -> None:
        self.column, self.split, self.max_points = column, split, max_points

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Embed the rows, and write the folder."""
        if not trainer.is_global_zero:
            return
        space, data = cast(JointEmbedding, pl_module).space, cast(TableData, cast(Any, trainer).datamodule)
        rows = data.dicts(self.split)
        space.compose_cells(rows, self.column)
        rows = [row for row in rows if row.get(self.column) is not None]
        if len(rows) < 2:
            wrong = f"only {len(rows)} rows of the split {self.split} have a cell in it"
            raise UsageError(f"Project: {self.column}", wrong, "choose another split or column")
        if len(rows) > self.max_points:
            places = np.random.default_rng(0).choice(len(rows), self.max_points, replace=False)
            rows = [rows[place] for place in np.sort(places)]
        cells = [row[self.column] for row in rows]
        vectors = space.embed(self.column, cells, load=data.load, piece_vectors=data.piece_vectors)
        root = data.open().root or Path()  # of a table in memory, paths are relative to the working directory
        size = tensorboard.thumbnail_size(len(rows))
        images = [tensorboard.thumbnail(cell, root, size) for cell in cells]
        has_images = any(image is not None for image in images)
        points, labels = _describe(rows, {self.column, data.split})
        folder = Path(trainer.default_root_dir) / FOLDER
        tensorboard.write(folder, vectors, points, images if has_images else None, self.column, labels)
        view = f"view them: tensorboard --logdir {folder}, then Projector"
        print(f"{folder}: {len(rows):,} points of {self.column}; {view}")


def _describe(rows: Sequence[dict[str, Any]], ignored: Collection[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """The cells of each row that a person can read, labels first, and the columns of labels."""
    texts = [displayable_cells(row) for row in rows]
    names = [name for name in dict.fromkeys(name for row in texts for name in row) if name not in ignored]
    labels = [name for name in names if are_labels([row[name] for row in texts if name in row])]
    names.sort(key=lambda name: name not in labels)
    ids = [{"id": row["id"]} if "id" in row else {} for row in rows]
    return [{**{name: row.get(name) for name in names}, **id} for row, id in zip(texts, ids, strict=True)], labels
