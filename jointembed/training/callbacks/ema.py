"""Exponential moving averages of the weights."""

from __future__ import annotations

import warnings
from typing import Any

import lightning
from lightning.pytorch.callbacks import WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ...arguments import CheckedArguments, Dropout


class EMA(CheckedArguments, WeightAveraging):
    """Averages the weights over the steps, exponentially; the averages are validated, saved and searched.

    A resumed run goes on with the weights and with their averages. Frozen weights stay as they are, bit for bit.

    Args:
        decay: share of an average that stays at a step. Over n steps at the end of a run 1 - 1 / n is a start.
    """

    def __init__(self, decay: Dropout = 0.999) -> None:
        # Lightning's own EMA multiplies and adds, which changes the last bits of weights that are equal. Buffers are
        # copied: the average of a table of integers would be rounded down.
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        super().__init__(use_buffers=False, multi_avg_fn=average)
        self._is_swapped = False  # the model has the averages, and `_average_model` the weights

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Make the averages, of a model with all of its parameters."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "You're using the WeightAveraging callback with a model that overrides")
            super().setup(trainer, pl_module, stage)

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Validate the averages."""
        super().on_validation_epoch_start(trainer, pl_module)
        self._is_swapped = True

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Go on with the weights."""
        super().on_validation_epoch_end(trainer, pl_module)
        self._is_swapped = False

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save both, also in the middle of a validation, which has exchanged them."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self._is_swapped:
            names = "state_dict", "current_model_state"
            checkpoint[names[0]], checkpoint[names[1]] = checkpoint[names[1]], checkpoint[names[0]]
