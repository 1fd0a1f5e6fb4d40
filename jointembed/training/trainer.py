"""Lightning's Trainer with a run folder, and all that needs private names of Lightning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ..data.table import TableData
from ..errors import UsageError
from ..space import checkpoint


class SafeCheckpointIO(TorchCheckpointIO):
    """Reads and writes Lightning's checkpoints with `space.checkpoint`."""

    def save_checkpoint(self, checkpoint_: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint; see `space.checkpoint.write`."""
        checkpoint.write(Path(path), checkpoint_)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint; see `space.checkpoint.read`."""
        return checkpoint.read(Path(path), map_location)


class RefuseExistingRun(Callback):
    """Refuses to train into a run folder that holds a run already, unless that run is resumed."""

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Look into `trainer.default_root_dir` before anything is written there."""
        root = Path(trainer.default_root_dir)
        if stage == "fit" and (root / "last.ckpt").exists() and not trainer.ckpt_path:
            raise UsageError(
                root,
                "the folder holds a run already",
                "add --ckpt_path last to resume it, or give another --trainer.default_root_dir",
            )


class BestAndLast(ModelCheckpoint):
    """Keeps `best.ckpt` and `last.ckpt` in the folder of the run.

    Args:
        monitor: the logged metric that chooses the best, such as `dev/loss`. If it is not given, or without `dev` rows,
            the last is the best: the learning rate falls to 0, and a choice by few rows would be chance.
        mode: `max` or `min`: which value of it is best.
    """

    def __init__(self, monitor: str | None = None, mode: str = "min") -> None:
        super().__init__(
            monitor=monitor,
            mode=mode,
            filename="best",
            save_last=True,
            enable_version_counter=False,
            auto_insert_metric_name=False,
        )

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Take the folder of the run; without rows to choose by, the newest is the best."""
        self.dirpath = trainer.default_root_dir
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, TableData) and not len(data.numbers("dev")):
            self.monitor = None
        if self.monitor is None:
            self._save_on_train_epoch_end = True
        super().setup(trainer, pl_module, stage)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save the last: Lightning does so only when there is a new best."""
        super().on_train_epoch_end(trainer, pl_module)
        fast_dev_run: bool = trainer.fast_dev_run  # type: ignore[attr-defined]
        if not fast_dev_run and self._last_global_step_saved != trainer.global_step:
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

    def _should_skip_saving_checkpoint(self, trainer: lightning.Trainer) -> bool:
        # `Evaluate` may leave out epochs: until it has logged, there is nothing to choose by.
        pending = self.monitor is not None and self.monitor not in trainer.callback_metrics
        return pending or super()._should_skip_saving_checkpoint(trainer)


class Trainer(lightning.Trainer):
    """Lightning's Trainer whose `default_root_dir` is the folder of one run, with its log and checkpoints.

    Checkpoints are written whole or not at all, and an earlier run in the folder is not overwritten. Without a
    checkpoint callback of one's own it keeps `best.ckpt` and `last.ckpt`; see `BestAndLast`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        callbacks = list(kwargs.get("callbacks") or [])
        if not any(isinstance(callback, ModelCheckpoint) for callback in callbacks):
            callbacks.append(BestAndLast())
        folder = str(kwargs.get("default_root_dir") or ".")
        for callback in callbacks:
            if isinstance(callback, BestAndLast):  # `--ckpt_path last` and `best` are resolved before its setup
                callback.dirpath = folder
                best = Path(folder) / "best.ckpt"
                callback.best_model_path = str(best) if best.is_file() else ""
        if kwargs.get("logger") is None:
            kwargs["logger"] = CSVLogger(folder, name="", version="")
        kwargs["callbacks"] = [RefuseExistingRun(), *callbacks]
        kwargs["plugins"] = [SafeCheckpointIO(), *(kwargs.get("plugins") or [])]
        kwargs["use_distributed_sampler"] = False  # ours knows the processes already
        super().__init__(*args, **kwargs)

    def _run(self, model: Any, ckpt_path: Any = None, *args: Any, **kwargs: Any) -> Any:
        # Lightning sets the path only after the data module is set up, which takes its vocabularies from there.
        self._checkpoint_connector._ckpt_path = ckpt_path
        return super()._run(model, ckpt_path, *args, **kwargs)
