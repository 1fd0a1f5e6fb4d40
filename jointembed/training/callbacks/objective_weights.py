"""Weights of objectives that change in the course of a training."""

from __future__ import annotations

from typing import Any, cast

import lightning
import numpy as np
from lightning.pytorch.callbacks import Callback

from ...arguments import CheckedArguments, NonNegative
from ...errors import UsageError, did_you_mean
from ...objectives import Objective
from ..joint_embedding import JointEmbedding


class ObjectiveWeights(CheckedArguments, Callback):
    """Moves the weights of objectives evenly from value to value in the course of a training.

    `ObjectiveWeights({"audio_caption": [0, 1], "audio_genre": [1, 1, 0]})` begins with genres alone; from the middle of
    the steps on, they give way to captions. An objective is named as in `metrics.csv`, without its number unless two
    have one name. `dev/loss` is the sum at the weights of that epoch, so it does not compare epochs.

    Args:
        weights: for each objective, its weights at evenly spaced steps, the first at the start and the last at the end.

    Raises:
        UsageError: the model has no such objective, or a list has fewer than two weights.
    """

    def __init__(self, weights: dict[str, list[NonNegative]]) -> None:
        for name, values in weights.items():
            if len(values) < 2:
                fix = "give the first and the last, or set `weight` of the objective"
                raise UsageError(f"ObjectiveWeights.{name}", "it has fewer than two weights", fix)
        self.weights = weights
        self._schedules: list[tuple[Objective, list[float]]] = []
        self._steps = 1

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Find the objectives, and the number of steps."""
        objectives = [cast(Objective, part) for part in cast(JointEmbedding, pl_module).objectives]
        names = [objective.name for objective in objectives]
        unique = {
            name if names.count(name) == 1 else f"{number}_{name}": objective
            for number, (name, objective) in enumerate(zip(names, objectives, strict=True))
        }
        for name in self.weights:
            if name not in unique:
                raise UsageError(f"ObjectiveWeights.{name}", "no such objective", did_you_mean(name, unique))
        self._schedules = [(unique[name], values) for name, values in self.weights.items()]
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        self._steps = data.steps(trainer) if hasattr(data, "steps") else int(trainer.estimated_stepping_batches)

    def on_train_batch_start(self, trainer: lightning.Trainer, *args: Any, **kwargs: Any) -> None:
        """Set the weights of this step; a resumed run goes on from its step."""
        share = min(1.0, trainer.global_step / max(1, self._steps - 1))
        for objective, values in self._schedules:
            objective.weight = float(np.interp(share, np.linspace(0, 1, len(values)), values))
