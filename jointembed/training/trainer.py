"""Trainer that writes to one run folder, with its default callbacks and safe checkpoint files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ..space import checkpoint
from .callbacks import BestAndLast, ParameterSummary, RefuseExistingRun
from .finite import SkipNonFinite


class SafeCheckpointIO(TorchCheckpointIO):
    """Reads and writes Lightning's checkpoints with `space.checkpoint`."""

    def save_checkpoint(self, checkpoint_: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint; see `space.checkpoint.write`."""
        checkpoint.write(Path(path), checkpoint_)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint; see `space.checkpoint.read`."""
        return checkpoint.read(Path(path), map_location)


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
        if kwargs.get("enable_model_summary") in (None, True) and not kwargs.get("barebones"):
            kwargs["enable_model_summary"] = False
            callbacks.append(ParameterSummary())
        # Averaged weights give way to the current ones only after all others have evaluated them.
        callbacks.sort(key=lambda callback: isinstance(callback, WeightAveraging))
        if not any(isinstance(callback, SkipNonFinite) for callback in callbacks):
            callbacks.insert(0, SkipNonFinite())
        kwargs["callbacks"] = [RefuseExistingRun(), *callbacks]
        kwargs["plugins"] = [SafeCheckpointIO(), *(kwargs.get("plugins") or [])]
        super().__init__(*args, **kwargs)

    def _run(self, model: Any, ckpt_path: Any = None, *args: Any, **kwargs: Any) -> Any:
        # Lightning sets the path only after the data module is set up, which takes its vocabularies from there.
        self._checkpoint_connector._ckpt_path = ckpt_path
        return super()._run(model, ckpt_path, *args, **kwargs)
