"""The checkpoint files of a run: how they are written and read, and which one is resumed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.plugins.io import TorchCheckpointIO

from ..errors import DamagedError, MismatchError, UserError
from ..space import checkpoint

RESUME = "--resume auto"  # what `jointembed fit` needs to go on with a run
BEST, LAST, PREVIOUS = "best.ckpt", "last.ckpt", "previous.ckpt"


class SafeCheckpointIO(TorchCheckpointIO):
    """Reads and writes Lightning's checkpoints with `space.checkpoint`."""

    def save_checkpoint(self, checkpoint_: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint; see `space.checkpoint.write`."""
        checkpoint.write(Path(path), checkpoint_)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint; see `space.checkpoint.read`. A model alone lacks the version, which Lightning asks for."""
        return {"pytorch-lightning_version": lightning.__version__, **checkpoint.read(Path(path), map_location)}


def newest_checkpoint(folder: Path, verbose: bool = True) -> Path | None:
    """The newest checkpoint of a run folder from which the run can go on; None if the folder holds no checkpoint.

    Args:
        folder: the folder of the run.
        verbose: say on standard error which checkpoint it is, and which ones are passed over, and why.

    Raises:
        DamagedError: there are checkpoints, but none of them can be resumed.
    """

    def say(line: str) -> None:
        if verbose:
            print(line, file=sys.stderr)

    paths = list(folder.glob("*.ckpt"))
    resumable: list[tuple[tuple[int, int, int, bool], Path]] = []
    for path in paths:
        try:
            content = checkpoint.read(path)
            if "optimizer_states" not in content or "loops" not in content:
                raise MismatchError(path, "it holds a model without the state of its training", "take another one")
        except UserError as error:
            say(f"warning: {path} is passed over: {error.problem}")
            continue
        loops, names = content["loops"]["fit_loop"], ("epoch_loop.batch_progress", "epoch_progress")
        batches, epochs = (loops[name]["total"]["processed"] for name in names)
        resumable.append(((content["global_step"], batches, epochs, path.name == LAST), path))
    if not paths:
        say(f"{folder} holds no checkpoint: training from scratch")
        return None
    if not resumable:
        fix = "move these files away to train from scratch, or give --ckpt_path and the checkpoint of another run"
        raise DamagedError(folder, "none of its checkpoints can be resumed", fix)
    progress, newest = max(resumable)
    say(f"{newest}: resumed after step {progress[0]:,}")
    return newest
