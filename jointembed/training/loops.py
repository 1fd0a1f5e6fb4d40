"""Lightning's loops over epochs and batches, saved between two steps and continued there, as if there were no break.

Lightning saves inside a step, where it depends on the hook what is done and what is still to do: a run that goes on
from there may leave out a validation, count an epoch twice, or train on the first rows of another epoch. Between two
steps nothing is pending. These loops call `Trainer.between_steps` there, and what they save says that it is from there.
"""

from __future__ import annotations

from typing import Any, Literal, cast

from lightning.fabric.utilities.data import _set_sampler_epoch
from lightning.pytorch.loops.fit_loop import _FitLoop
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop

from ..data.sampler import RowBatchSampler

# Where a checkpoint was saved: behind all that follows a step, in the validation after it, or in a hook of Lightning's.
Position = Literal["between steps", "validation", "hook"]


class FitLoop(_FitLoop):
    """The loop over epochs.

    Args:
        loop: Lightning's, whose settings it takes over.
    """

    def __init__(self, loop: _FitLoop) -> None:
        super().__init__(loop.trainer, loop.min_epochs, loop.max_epochs)
        self.epoch_loop = EpochLoop(loop.trainer, loop.min_steps, loop.max_steps)

    def _iteration_based_training(self) -> bool:
        return False  # with `max_steps`, Lightning would count an epoch twice that was saved at its end

    def _load_combined_loader_states(self) -> None:
        # Workers read ahead as soon as there is an iterator, which Lightning makes before it sets the epoch.
        assert self._combined_loader is not None
        epoch: int = self.epoch_progress.current.processed  # type: ignore[attr-defined]
        batches = self.epoch_loop.batch_progress.current.completed if self.epoch_loop.restarting else 0
        for loader in self._combined_loader.flattened:
            _set_sampler_epoch(loader, epoch)
            if isinstance(loader.sampler, RowBatchSampler):
                loader.sampler.start = epoch, batches

    def on_advance_end(self) -> None:
        """End an epoch."""
        super().on_advance_end()
        cast(Any, self.trainer).between_steps(end_of_epoch=True)


class EpochLoop(_TrainingEpochLoop):
    """The loop over the batches of an epoch."""

    position: Position = "hook"
    _loaded_position: Position = "hook"
    _validation_is_pending = False

    def reset(self) -> None:
        """Begin an epoch, or go on in it."""
        restarting: bool = self.restarting
        if not restarting or self._loaded_position == "hook":
            super().reset()
            return
        for progress in (self.batch_progress, self.scheduler_progress, self.automatic_optimization.optim_progress):
            progress.reset_on_restart()
        self._validation_is_pending = self._loaded_position == "validation"
        # Both loops go on as in a run without a break: else the outer one would leave out schedules at the epoch's end.
        self.trainer.fit_loop.restarting = False

    @property
    def _is_validation_done(self) -> bool:
        return not self._validation_is_pending and super()._is_validation_done

    def advance(self, data_fetcher: Any) -> None:
        """Make a step, unless the last one was made before the break and only its validation is pending."""
        if not self._validation_is_pending:
            super().advance(data_fetcher)

    def _broadcast_sigterm_tensor(self) -> None:
        """Nothing: `Trainer.between_steps` compares the signals of all processes."""

    def on_advance_end(self, data_fetcher: Any) -> None:
        """Validate if it is time to."""
        super().on_advance_end(data_fetcher)
        self._validation_is_pending = False
        if not self._is_training_done and not self._should_accumulate():  # else the epoch ends, or gradients wait
            cast(Any, self.trainer).between_steps(end_of_epoch=False)

    def on_save_checkpoint(self) -> dict[str, Any]:
        """The state of the loop, with the position where it is saved."""
        return {**super().on_save_checkpoint(), "position": self.position}

    def on_load_checkpoint(self, state_dict: dict[str, Any]) -> None:
        """Take the state over."""
        super().on_load_checkpoint(state_dict)
        self._loaded_position = state_dict.get("position", "hook")
