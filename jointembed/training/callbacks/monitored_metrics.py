"""Names of metrics that callbacks watch, checked as soon as the metrics are there."""

from __future__ import annotations

import re
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback, EarlyStopping

from ...errors import UsageError, did_you_mean
from .evaluate import Evaluate

RETRIEVAL_METRIC = re.compile(r"/(map$|(recall|hit|precision|ndcg|knn)@\d+$)")  # of `Evaluate`


def check_mode(monitor: str | None, mode: str) -> None:
    """Check that `mode` prefers the better values of a loss or of a metric of `Evaluate`.

    Raises:
        UsageError: it prefers the worse.
    """
    best = "max" if RETRIEVAL_METRIC.search(monitor or "") else "min"
    if monitor is not None and mode != best and (best == "max" or monitor.startswith("dev/")):
        wrong = f"it is {mode}, but {monitor} is better when it is {'higher' if best == 'max' else 'lower'}"
        raise UsageError("BestAndLast.mode", wrong, f"write `mode: {best}`")


def pending_metrics(trainer: lightning.Trainer) -> tuple[str, ...]:
    """What the names of metrics begin with that an `Evaluate` which leaves out epochs has yet to log."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    prefixes = [callback.prefix for callback in callbacks if isinstance(callback, Evaluate)]
    return tuple(prefix for prefix in prefixes if not any(name.startswith(prefix) for name in trainer.callback_metrics))


def check_monitor(monitor: str, trainer: lightning.Trainer) -> None:
    """Check, after a validation, that the metric that selects the best checkpoint is logged, or will be.

    Raises:
        UsageError: nothing logs it.
    """
    logged = trainer.callback_metrics
    if monitor not in logged and not monitor.startswith(pending_metrics(trainer)):
        fix = did_you_mean(monitor, [name for name in logged if not name.startswith("train/")])
        raise UsageError("BestAndLast.monitor", f"no metric is called {monitor}", fix)


class CheckEarlyStopping(Callback):
    """Refuses an `EarlyStopping` whose metric nothing logs; one that `Evaluate` has yet to log is waited for.

    A run that has stopped early trains no further epoch when it is resumed.

    Raises:
        UsageError: no metric has this name.
    """

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop where the resumed run had stopped."""
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        trainer.should_stop |= any(
            isinstance(callback, EarlyStopping) and callback.wait_count >= max(callback.patience, 1)
            for callback in callbacks
        )

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
        pending = pending_metrics(trainer)
        for callback in callbacks:
            if not isinstance(callback, EarlyStopping) or callback.monitor in logged:
                continue
            if callback.monitor.startswith(pending):
                callback.strict = False  # it waits until `Evaluate` logs
            elif callback._check_on_train_epoch_end == end_of_epoch and callback.strict:
                fix = did_you_mean(callback.monitor, logged)
                raise UsageError("EarlyStopping.monitor", f"no metric is called {callback.monitor}", fix)
