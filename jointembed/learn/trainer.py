"""Lightning's Trainer with a run folder."""

from __future__ import annotations

from typing import Any

import lightning
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from .callbacks import Folder, Keep
from .checkpoint import SafeIO


class Trainer(lightning.Trainer):
    """Lightning's Trainer whose `default_root_dir` is the folder of one run: log, `best.ckpt` and `last.ckpt` lie there.

    Checkpoints are written whole or not at all, and an earlier run in the folder is not overwritten.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        callbacks = list(kwargs.get("callbacks") or [])
        if not any(isinstance(callback, ModelCheckpoint) for callback in callbacks):
            callbacks.append(Keep())
        folder = str(kwargs.get("default_root_dir") or ".")
        if kwargs.get("logger") is None:
            kwargs["logger"] = CSVLogger(folder, name="", version="")
        kwargs["callbacks"] = [Folder(), *callbacks]
        kwargs["plugins"] = [SafeIO(), *(kwargs.get("plugins") or [])]
        kwargs["use_distributed_sampler"] = False  # ours knows the processes already
        super().__init__(*args, **kwargs)
