"""What a checkpoint holds for an exact resume besides what Lightning saves."""

from __future__ import annotations

import sys
from typing import Any, cast

import lightning
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.trainer.states import TrainerFn

from ...objectives import distributed
from ..joint_embedding import JointEmbedding
from ..metrics_file import MetricsFile
from ..random_state import random_state, restore_random_state
from ..resume_checks import apply_rates, check_resume

KEY = "run"  # of what `ResumeState` puts into a checkpoint


class ResumeState(Callback):
    """Saves and restores what Lightning leaves out: random generators, and how far metrics.csv had got."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}
        self._has_new_rates = False
        self._before_validation: dict[str, Any] | None = None

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Log to metrics.csv in training only."""
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile):
                logger.is_open = stage == "fit"

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the state of the run, with the random generators of every process; all of them call this."""
        state = self._before_validation or random_state()
        generators: list[Any] = [state]
        if distributed.world() > 1:
            generators = [None] * distributed.world()
            dist.all_gather_object(generators, state)
        rows = [logger.experiment.flush() for logger in trainer.loggers if isinstance(logger, MetricsFile)]
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        checkpoint[KEY] = {"generators": generators, "metrics_rows": rows[0] if rows else 0, "metrics": metrics}

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the state for the start of the training: until then, much draws random numbers.

        Raises:
            UserError: the run cannot go on with this recipe; see `check_resume`.
        """
        self._loaded = checkpoint.get(KEY, {})
        if trainer.state.fn == TrainerFn.FITTING:
            self._has_new_rates = check_resume(trainer, cast(JointEmbedding, pl_module), checkpoint)

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keep the generators: a run that stops in a validation begins it anew."""
        self._before_validation = random_state()

    def on_validation_batch_end(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        """Stop if a signal has arrived."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            trainer.stop_in_validation()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """The generators go on from where the validation has left them."""
        self._before_validation = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Restore the state, and use the learning rates of the recipe if they have changed."""
        if self._has_new_rates:
            apply_rates(trainer, cast(JointEmbedding, pl_module))
        state, self._loaded = self._loaded, {}
        if not state:
            return
        world, generators = distributed.world(), state["generators"]
        if world == len(generators):
            restore_random_state(generators[distributed.rank()])
        elif trainer.is_global_zero:
            wrong = f"{len(generators)} processes trained this run until now, and {world} go on"
            print(f"warning: {wrong}: they draw other random numbers", file=sys.stderr)
        values = {name: torch.tensor(value, device=pl_module.device) for name, value in state["metrics"].items()}
        trainer._logger_connector._callback_metrics.update(values)
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile) and trainer.is_global_zero:
                logger.experiment.rewind(state["metrics_rows"])
