"""Trainer that writes to one run folder, can be stopped at any step, and goes on from there to the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.trainer.connectors.signal_connector import _SignalConnector
from lightning.pytorch.trainer.states import TrainerFn

from .callbacks.best_and_last import BestAndLast
from .callbacks.check_objectives import CheckObjectives
from .callbacks.collapse_alarm import CollapseAlarm
from .callbacks.monitored_metrics import CheckEarlyStopping
from .callbacks.parameter_summary import ParameterSummary
from .callbacks.resume_state import ResumeState
from .callbacks.run_folder import RunFolder
from .callbacks.skip_non_finite import SkipNonFinite
from .checkpoint_connector import CheckpointConnector
from .checkpoints import BEST, SafeCheckpointIO
from .hardware import check_strategy, choose_precision
from .loggers import run_loggers, write_profile_to
from .loops import FitLoop, Position
from .signals import StopSignals, TrainingInterrupt, largest
from .trainer_options import check_callbacks, check_trainer_options, explain_trainer_error, is_refusal_of_lightning


class Trainer(lightning.Trainer):
    """Lightning's Trainer whose `default_root_dir` is the folder of one run, with its log and checkpoints.

    Checkpoints are written whole or not at all, and an earlier run in the folder is not overwritten; `fit` goes on with
    it from `ckpt_path="auto"`, its newest intact checkpoint, and begins a run in an empty folder. The trainer keeps
    `best.ckpt`, `last.ckpt` and `previous.ckpt`; see `BestAndLast`. SIGTERM, SIGUSR1 and Ctrl-C save the run first.

    Without `precision` the encoders compute in bfloat16 (`bf16-mixed`) where that is faster, else in float32
    (`32-true`); scores and losses are in float32 at least. Several processes train with `strategy="ddp"`.

    Metrics go to `metrics.csv`, whatever loggers are given besides, and the report of a profiler into the folder too.

    Args:
        tensorboard: also write events for TensorBoard into the folder `tensorboard` of the run.
        limit_train_batches: training batches of an epoch, or a share of them; so are the other limits.
        limit_val_batches: batches of the dev rows.
        limit_test_batches: batches of the test rows.
        limit_predict_batches: batches of all rows.
    """

    def __init__(
        self,
        *args: Any,
        tensorboard: bool = False,
        # Lightning's `Optional[Union[int, float]]` may be one that another module made, of float and int in this order;
        # a recipe's single batch would be read as 1.0, which is all of them.
        limit_train_batches: int | float | None = None,
        limit_val_batches: int | float | None = None,
        limit_test_batches: int | float | None = None,
        limit_predict_batches: int | float | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs |= {
            "limit_train_batches": limit_train_batches,
            "limit_val_batches": limit_val_batches,
            "limit_test_batches": limit_test_batches,
            "limit_predict_batches": limit_predict_batches,
        }
        check_trainer_options(kwargs)
        callbacks = list(kwargs.get("callbacks") or [])
        savers = [callback for callback in callbacks if isinstance(callback, BestAndLast)]
        if not savers and kwargs.get("enable_checkpointing") is not False:
            savers = [BestAndLast()]
            callbacks += savers
        folder = Path(kwargs.get("default_root_dir") or ".")
        for saver in savers:
            saver.best_model_path = str(folder / BEST) if (folder / BEST).is_file() else ""
        kwargs["logger"] = run_loggers(kwargs.get("logger"), folder, tensorboard)
        if kwargs.get("enable_model_summary") in (None, True) and not kwargs.get("barebones"):
            kwargs["enable_model_summary"] = False
            callbacks.append(ParameterSummary())
        # Averaged weights give way to the current ones only after all others have evaluated them.
        callbacks.sort(key=lambda callback: isinstance(callback, WeightAveraging))
        if not any(isinstance(callback, SkipNonFinite) for callback in callbacks):
            callbacks.insert(0, SkipNonFinite())
        if not kwargs.get("fast_dev_run") and not kwargs.get("barebones"):
            callbacks[:0] = [CheckObjectives(), CollapseAlarm()]
        kwargs["callbacks"] = [RunFolder(), CheckEarlyStopping(), *callbacks, ResumeState()]
        kwargs["plugins"] = [SafeCheckpointIO(), *(kwargs.get("plugins") or [])]
        check_strategy(kwargs.get("strategy", "auto"))
        kwargs["precision"] = choose_precision(kwargs.get("precision"), kwargs.get("accelerator", "auto"))
        try:
            super().__init__(*args, **kwargs)
        except (MisconfigurationException, ValueError, TypeError) as error:
            raise explain_trainer_error(kwargs, error) from error
        check_strategy(self.strategy)
        if isinstance(kwargs.get("overfit_batches"), float):  # a share of the training batches; dev rows may be few
            self.limit_val_batches = 1.0 if limit_val_batches is None else limit_val_batches
        write_profile_to(folder, self.profiler)  # type: ignore[attr-defined]
        self.stop_signals = StopSignals()
        self.fit_loop = FitLoop(self.fit_loop)
        self._checkpoint_connector = CheckpointConnector(self)
        self._signal_connector = _StopSignalConnector(self, self.stop_signals)

    def _run(self, model: Any, ckpt_path: Any = None, *args: Any, **kwargs: Any) -> Any:
        # Lightning sets the path only after the data module is set up, which takes its vocabularies from there.
        self._checkpoint_connector._ckpt_path = ckpt_path
        check_callbacks(self.callbacks, model)  # type: ignore[attr-defined]
        try:
            return super()._run(model, ckpt_path, *args, **kwargs)
        except (MisconfigurationException, ValueError, TypeError) as error:
            if not is_refusal_of_lightning(error):
                raise
            raise explain_trainer_error({}, error) from error

    def between_steps(self, end_of_epoch: bool) -> None:
        """Save if it is time to, and stop if any process has got a signal; every process calls this between two steps.

        Raises:
            TrainingInterrupt: the run stops.
        """
        saver = self._saver()
        due = self.is_global_zero and (end_of_epoch or (saver is not None and saver.is_due(self)))
        signum, saves = largest([self.stop_signals.signum, int(due)], self.strategy.root_device)
        self._save_and_stop("between steps", saver if saves or signum else None, signum)

    def stop_in_validation(self) -> None:
        """Save and stop if any process has got a signal; every process calls this between two batches of a validation.

        Raises:
            TrainingInterrupt: the run stops, and goes on with this validation.
        """
        (signum,) = largest([self.stop_signals.signum], self.strategy.root_device)
        if signum and not self.fit_loop._should_accumulate():
            self._save_and_stop("validation", self._saver(), signum)

    def _saver(self) -> BestAndLast | None:
        callbacks: list[Any] = self.callbacks  # type: ignore[attr-defined]
        savers = [callback for callback in callbacks if isinstance(callback, BestAndLast)]
        fast_dev_run: bool = self.fast_dev_run  # type: ignore[attr-defined]
        return savers[0] if savers and not fast_dev_run else None

    def _save_and_stop(self, position: Position, saver: BestAndLast | None, signum: int) -> None:
        if saver is not None:
            loop = self.fit_loop.epoch_loop
            loop.position = position
            try:
                saver.save(self)
            finally:
                loop.position = "hook"
        if signum:
            raise TrainingInterrupt(signum, self.global_step if saver is not None else None)


class _StopSignalConnector(_SignalConnector):
    """Registers our handlers in the place of Lightning's, which talk to other processes in the middle of a step."""

    def __init__(self, trainer: Trainer, signals: StopSignals) -> None:
        super().__init__(trainer)
        self.signals = signals

    def register_signal_handlers(self) -> None:
        self.received_sigterm = False
        if self.trainer.state.fn == TrainerFn.FITTING:
            self.signals.register()

    def teardown(self) -> None:
        self.signals.restore()
