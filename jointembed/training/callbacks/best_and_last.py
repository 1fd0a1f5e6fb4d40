"""When the checkpoints of a run are saved."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, Literal

import lightning
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from ... import files
from ...arguments import CheckedArguments, Count, Positive
from ...data.table import TableData
from ..checkpoints import BEST, LAST, PREVIOUS
from .monitored_metrics import check_mode, check_monitor


class BestAndLast(CheckedArguments, Checkpoint):
    """Keeps `best.ckpt` and `last.ckpt` in the folder of the run, and `previous.ckpt`, the last but one.

    They are saved after each epoch, and within long ones: a run that was killed goes on with `jointembed fit ...
    --resume auto`, and ends with the same weights as without the break.

    Args:
        monitor: the logged metric that selects `best.ckpt`, such as `dev/loss`. If None, or if there are no `dev` rows,
            the newest checkpoint is the best.
        mode: `max` or `min`, whichever value of the metric is better.
        every_n_minutes: minutes from one checkpoint within an epoch to the next; None for no such checkpoints.
        every_n_steps: optimizer steps from one checkpoint within an epoch to the next; None for no such checkpoints.

    The default keeps the newest because the learning rate falls to 0, and few `dev` rows would choose by chance.
    """

    def __init__(
        self,
        monitor: str | None = None,
        mode: Literal["min", "max"] = "min",
        every_n_minutes: Positive | None = 10.0,
        every_n_steps: Count | None = None,
    ) -> None:
        check_mode(monitor, mode)
        self.monitor, self.mode = monitor, mode
        self.every_n_minutes, self.every_n_steps = every_n_minutes, every_n_steps
        self.best_model_path = ""  # Lightning asks for it
        self._best_score: float | None = None
        self._is_best = False  # the last validation was the best, and best.ckpt is not written yet
        self._saved_at = 0.0

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Without rows to choose by, the newest is the best."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, TableData) and not len(data.numbers("dev")):
            self.monitor = None

    def state_dict(self) -> dict[str, Any]:
        """The best value of the metric."""
        return {"monitor": self.monitor, "best_score": self._best_score, "is_best": self._is_best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the best value, if it is of the same metric."""
        if state_dict["monitor"] == self.monitor:
            self._best_score, self._is_best = state_dict["best_score"], state_dict["is_best"]

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write best.ckpt if the run was killed before it had done so, perhaps after its last step."""
        path = trainer.ckpt_path
        is_best = self._is_best or self.monitor is None
        if path and is_best and trainer.is_global_zero and Path(path).is_file():  # not that of a `LearningRateFinder`
            files.link(path, Path(trainer.default_root_dir) / BEST)
        self._is_best = False

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Count the minutes from here."""
        self._saved_at = time.monotonic()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Compare the metric; best.ckpt is written between this step and the next."""
        if self.monitor is None or trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        check_monitor(self.monitor, trainer)
        if self.monitor in trainer.callback_metrics:  # `Evaluate` may leave out epochs
            score = float(trainer.callback_metrics[self.monitor])
            if self._best_score is None or self._rank(score) > self._rank(self._best_score):
                self._best_score, self._is_best = score, True
        if self._is_best and trainer.fit_loop._should_accumulate():  # the next step would change the weights
            trainer.save_checkpoint(Path(trainer.default_root_dir) / BEST)
            self._is_best = False

    def _rank(self, score: float) -> float:
        return -math.inf if math.isnan(score) else score if self.mode == "max" else -score

    def is_due(self, trainer: lightning.Trainer) -> bool:
        """Whether to save between this step and the next."""
        minutes, steps = self.every_n_minutes, self.every_n_steps
        late = minutes is not None and time.monotonic() - self._saved_at >= minutes * 60
        return late or self._is_best or (steps is not None and trainer.global_step % steps == 0)

    def save(self, trainer: lightning.Trainer) -> None:
        """Write last.ckpt, keep what it was as previous.ckpt, and make it best.ckpt if it is the best."""
        folder = Path(trainer.default_root_dir)
        if trainer.is_global_zero and (folder / LAST).exists():
            files.link(folder / LAST, folder / PREVIOUS)
        trainer.save_checkpoint(folder / LAST)
        if self.monitor is None or self._is_best:
            if trainer.is_global_zero:
                files.link(folder / LAST, folder / BEST)
            self.best_model_path = str(folder / BEST)
        self._is_best, self._saved_at = False, time.monotonic()
