"""Names of metrics that callbacks of Lightning watch, checked as soon as the metrics are there."""

from __future__ import annotations

from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback, EarlyStopping

from ..errors import UsageError, did_you_mean
from .callbacks import Evaluate


class CheckEarlyStopping(Callback):
    """Refuses an `EarlyStopping` whose metric nothing logs; one that `Evaluate` has yet to log is waited for.

    Raises:
        UsageError: no metric has this name.
    """

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Check those that look at the end of an epoch."""
        self._check(trainer, True)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Check those that look at the end of a validation."""
        self._check(trainer, False)

    @staticmethod
    def _check(trainer: lightning.Trainer, end_of_epoch: bool) -> None:
        fast_dev_run: bool = trainer.fast_dev_run  # type: ignore[attr-defined]
        if trainer.sanity_checking or fast_dev_run:
            return
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        logged = list(trainer.callback_metrics)
        prefixes = [f"{callback.query}-{callback.target}/" for callback in callbacks if isinstance(callback, Evaluate)]
        pending = tuple(prefix for prefix in prefixes if not any(name.startswith(prefix) for name in logged))
        for callback in callbacks:
            if not isinstance(callback, EarlyStopping) or callback.monitor in logged:
                continue
            if callback.monitor.startswith(pending):
                callback.strict = False  # it waits until `Evaluate` logs
            elif callback._check_on_train_epoch_end == end_of_epoch and callback.strict:
                fix = did_you_mean(callback.monitor, logged)
                raise UsageError("EarlyStopping.monitor", f"no metric is called {callback.monitor}", fix)
