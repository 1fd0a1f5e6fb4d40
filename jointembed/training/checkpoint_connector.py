"""The checkpoint that `ckpt_path` names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from lightning.pytorch.trainer.connectors.checkpoint_connector import _CheckpointConnector
from lightning.pytorch.trainer.states import TrainerFn

from ..errors import MismatchError, UsageError
from .callbacks.best_and_last import BestAndLast
from .checkpoints import BEST, LAST, RESUME, newest_checkpoint


class CheckpointConnector(_CheckpointConnector):
    """Finds the checkpoint of the run folder that `ckpt_path` names: `auto` in `fit` only, `last` or `best`."""

    def restore_model(self) -> None:
        """Load the weights.

        Raises:
            MismatchError: they are those of a model of other sizes.
        """
        try:
            super().restore_model()
        except RuntimeError as error:
            sizes = re.search(r"size mismatch for (\S+):", str(error))
            wrong = f"its weights do not fit the recipe{f' ({sizes[1]} has another size)' if sizes else ''}"
            fix = "use the recipe that it was trained with, or begin a new run in another folder"
            raise MismatchError(str(self.trainer.ckpt_path), wrong, fix) from error

    def _parse_ckpt_path(self, state_fn: TrainerFn, ckpt_path: Any, *args: Any, **kwargs: Any) -> Any:
        trainer, folder = self.trainer, Path(self.trainer.default_root_dir)
        if ckpt_path == "auto" and state_fn == TrainerFn.FITTING:
            return newest_checkpoint(folder, trainer.is_global_zero)
        if ckpt_path == "last" or (ckpt_path == "best" and isinstance(trainer.checkpoint_callback, BestAndLast)):
            path = folder / (LAST if ckpt_path == "last" else BEST)
            if not path.is_file():
                fix = "give the folder of a run, or a checkpoint"
                if state_fn == TrainerFn.FITTING:
                    fix = f"write {RESUME}, which also begins a run in an empty folder"
                raise UsageError(folder, f"the folder holds no {path.name}", fix)
            return str(path)
        return super()._parse_ckpt_path(state_fn, ckpt_path, *args, **kwargs)
