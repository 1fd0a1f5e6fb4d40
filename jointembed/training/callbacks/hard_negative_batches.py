"""Hard negatives, mined between epochs: batches of rows that the model finds similar."""

from __future__ import annotations

from typing import Any, cast

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray

from ...arguments import CheckedArguments, Count
from ...errors import UsageError, did_you_mean
from ...objectives import distributed
from ..joint_embedding import JointEmbedding
from .skip_non_finite import gather_objects

# N rows, D dimension

POWER_ITERATIONS = 3  # towards the direction of the largest variance


class HardNegativeBatches(CheckedArguments, Callback):
    """Fills the batches of an epoch with neighborhoods: rows whose vectors are near each other.

    The wrong candidates of a batch are then hard ones, and no further cell is encoded for them (Sachidananda et al.
    2023). After an epoch, all training rows are embedded and put into an order in which similar rows are near each
    other; a batch of the next epoch has blocks of this order. As always in a batch, rows with equal cells, or equal in
    `positives_by`, are never wrong candidates. The first epoch has random batches.

    Args:
        query: column of the queries.
        target: column of what they look for.
        size: rows of a neighborhood; a batch of 64 has eight neighborhoods of 8 rows.
        every_n_epochs: epochs from one mining to the next.
    """

    def __init__(self, query: str, target: str, size: Count = 8, every_n_epochs: Count = 1) -> None:
        self.query, self.target, self.size, self.every_n_epochs = query, target, size, every_n_epochs
        self._places: NDArray[np.int64] | None = None  # (N,) of the rows of the table

    def state_dict(self) -> dict[str, Any]:
        """The order of this epoch."""
        return {"places": None if self._places is None else torch.from_numpy(self._places)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the order."""
        places = state_dict["places"]
        self._places = None if places is None else places.numpy()

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Hand the order of a resumed epoch to the data.

        Raises:
            UsageError: the model has no such column, or the trainer has no `TableData`.
        """
        space, data = cast(JointEmbedding, pl_module).space, cast(Any, trainer).datamodule
        columns = [*space.columns, *space.fusions]
        for column in (self.query, self.target):
            if column not in columns:
                wrong = "the model has no such column"
                raise UsageError(f"HardNegativeBatches.{column}", wrong, did_you_mean(column, columns))
        if not hasattr(data, "neighborhoods"):
            raise UsageError("HardNegativeBatches", "the trainer has no TableData", "write trainer.fit(model, data)")
        data.neighborhoods.size, data.neighborhoods.places = self.size, self._places

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Embed the training rows, and order them."""
        if (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        model, data = cast(JointEmbedding, pl_module), cast(Any, trainer).datamodule
        parts = []
        modes = {module: module.training for module in model.modules()}
        model.eval()
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            for number, batch in enumerate(data.ordered_train_dataloader()):
                moved = data.transfer_batch_to_device(batch, model.device, 0)
                vectors = model.predict_step(moved, number)
                pair = torch.nan_to_num(vectors[self.query]) + torch.nan_to_num(vectors[self.target])
                parts.append((batch.rows, pair.float().cpu().numpy()))
        for module, training in modes.items():
            module.training = training
        gathered = [part for parts in gather_objects(parts) for part in parts]
        rows = np.concatenate([rows for rows, _ in gathered])
        order = np.argsort(rows)
        rows, pairs = rows[order], np.concatenate([pair for _, pair in gathered])[order]
        places = np.zeros(len(data.open()), np.int64)
        nearness = order_by_nearness(pairs, self.size, np.random.default_rng([data.seed, trainer.current_epoch]))
        places[rows[nearness]] = np.arange(len(rows))
        # Vectors may differ in their last bits from process to process, and the batches must not.
        shared = distributed.share(torch.from_numpy(places).to(model.device))
        self._places = data.neighborhoods.places = shared.cpu().numpy()


def order_by_nearness(vectors: NDArray[np.float32], size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The numbers of vectors (N, D) in an order in which each block of `size` has vectors near each other.

    The vectors are halved along the direction of their largest variance, and the halves again, down to blocks.
    """
    stack, blocks = [np.arange(len(vectors))], []
    while stack:
        numbers = stack.pop()
        if len(numbers) <= size:
            blocks.append(numbers)
            continue
        centered = vectors[numbers] - vectors[numbers].mean(0)
        direction = rng.standard_normal(vectors.shape[1], np.float32)
        for _ in range(POWER_ITERATIONS):
            direction = (centered @ direction) @ centered
            direction /= max(float(np.linalg.norm(direction)), np.finfo(np.float32).tiny)
        half = -(-len(numbers) // (2 * size)) * size  # whole blocks
        order = np.argpartition(centered @ direction, half - 1) if half < len(numbers) else np.arange(len(numbers))
        stack += [numbers[order[half:]], numbers[order[:half]]]
    return np.concatenate(blocks)
