"""A run folder is not trained into twice."""

from __future__ import annotations

from pathlib import Path

import lightning
from lightning.pytorch.callbacks import Callback

from ... import files
from ...errors import UsageError
from ..checkpoints import LAST, RESUME


class RunFolder(Callback):
    """Refuses to train into a folder that holds a run already, unless that run is resumed, and tidies up the folder."""

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Look into `trainer.default_root_dir` before anything is written there."""
        root = Path(trainer.default_root_dir)
        if stage != "fit":
            return
        if (root / LAST).exists() and not trainer.ckpt_path:
            fix = f"add {RESUME} to go on with it, or give another --trainer.default_root_dir"
            raise UsageError(root, "the folder holds a run already", fix)
        if trainer.is_global_zero:
            files.remove_parts(root)
