"""Whether the objectives have anything to learn from."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import Tensor

from ...data.table import TableData
from ...errors import UsageError
from ..joint_embedding import JointEmbedding

# N training rows, O objectives

ROWS_AT_A_TIME = 4096
FIX = "check its columns, the split and the batch size, or leave it out"


class CheckObjectives(Callback):
    """Stops a training whose objectives have nothing to learn from, and reports an objective that has not.

    Either no training row has the columns that an objective needs, or its loss is 0 in all batches of the first epoch:
    no two cells of a batch belong together, or there is no second candidate to tell the right one from.
    """

    def __init__(self) -> None:
        self._has_loss: Tensor | None = None  # (O,) whether the loss of each objective was not 0 in some batch
        self._is_first_epoch = False

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Look for a row that has the columns of each objective, and report it if no dev row has.

        Raises:
            UsageError: no training row has them.
        """
        self._is_first_epoch, self._has_loss = not trainer.global_step, None
        model, data = cast(JointEmbedding, pl_module), trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, TableData):
            return
        for objective in model._objectives:
            columns = list(dict.fromkeys(objective.row_columns() if objective.weight else ()))
            parts = {column: model.space.fusions.get(column, [column]) for column in columns}
            if wrong := _describe_missing(data, parts, "train"):
                raise UsageError(f"objective {objective.name}", wrong, FIX)
            if (wrong := _describe_missing(data, parts, "dev")) and trainer.is_global_zero:
                print(
                    f"warning: objective {objective.name}: {wrong}, so its dev loss is 0. Fix: {FIX}", file=sys.stderr
                )

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the losses."""
        losses = cast(JointEmbedding, pl_module).last_losses
        if self._is_first_epoch and losses is not None:
            has_loss = losses != 0
            self._has_loss = has_loss if self._has_loss is None else self._has_loss | has_loss

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Report the objectives without any loss in the first epoch.

        Raises:
            UsageError: no objective has a loss.
        """
        if self._has_loss is None:
            return
        has_loss, self._has_loss, self._is_first_epoch = self._has_loss.tolist(), None, False
        objectives = cast(JointEmbedding, pl_module)._objectives
        names = [
            objective.name for objective, has in zip(objectives, has_loss, strict=True) if objective.weight and not has
        ]
        wrong = "the loss is 0 in each batch of the first epoch, so there is nothing to learn"
        if names and not any(has_loss):
            raise UsageError(f"objective {names[0]}", wrong, FIX)
        for name in names:
            if trainer.is_global_zero:
                print(f"warning: objective {name}: {wrong}. Fix: {FIX}", file=sys.stderr)


def _describe_missing(data: TableData, columns: Mapping[str, Sequence[str]], split: str) -> str:
    """How many rows of a split have each of some columns, if no row has all of them; a fused column is its parts."""
    rows = data.numbers(split)
    if not columns or not len(rows) or any(has.any() for has in _find_rows(data, [*columns.values()], rows)):
        return ""
    counts = [
        f"{sum(int(has.sum()) for has in _find_rows(data, [parts], rows)):,} have {column}"
        for column, parts in columns.items()
    ]
    return f"no {split} row has {' and '.join(columns)}: of {len(rows):,} rows, {', '.join(counts)}"


def _find_rows(
    data: TableData, columns: Sequence[Sequence[str]], rows: NDArray[np.int64]
) -> Iterator[NDArray[np.bool_]]:
    """Which of some rows (N,) have a cell in one column at least of each group of columns, part by part."""
    for start in range(0, len(rows), ROWS_AT_A_TIME):
        part = rows[start : start + ROWS_AT_A_TIME]
        index = torch.from_numpy(part)
        # The key of a missing cell is that of its row; see `Reader.keys`.
        yield np.logical_and.reduce(
            [
                np.logical_or.reduce([data.encoded[column][index].row_keys.numpy() != -1 - part for column in group])
                for group in columns
            ]
        )
