"""The checkpoints of a run: what they hold besides the weights, when they are saved, and which one is resumed."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback, Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.trainer.connectors.checkpoint_connector import _CheckpointConnector
from lightning.pytorch.trainer.states import TrainerFn

from .. import files
from ..arguments import CheckedArguments, Count, Positive
from ..data.table import TableData
from ..errors import DamagedError, MismatchError, UsageError, UserError
from ..objectives import distributed
from ..space import checkpoint
from .metrics_file import MetricsFile
from .monitors import check_mode, check_monitor
from .random_state import random_state, restore_random_state

RESUME = "--resume auto"  # what `jointembed fit` needs to go on with a run
BEST, LAST, PREVIOUS = "best.ckpt", "last.ckpt", "previous.ckpt"
KEY = "run"  # of what `RunState` puts into a checkpoint


class SafeCheckpointIO(TorchCheckpointIO):
    """Reads and writes Lightning's checkpoints with `space.checkpoint`."""

    def save_checkpoint(self, checkpoint_: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint; see `space.checkpoint.write`."""
        checkpoint.write(Path(path), checkpoint_)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint; see `space.checkpoint.read`."""
        return checkpoint.read(Path(path), map_location)


class CheckpointConnector(_CheckpointConnector):
    """Finds the checkpoint of the run folder that `ckpt_path` names: `auto` in `fit` only, `last` or `best`."""

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


class RunState(Callback):
    """Saves and restores what Lightning leaves out: random generators, and how far metrics.csv had got."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}
        self._before_validation: dict[str, Any] | None = None

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Log to metrics.csv in training only."""
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile):
                logger.is_open = stage == "fit"

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the state of the run, with the random generators of every process; all of them call this."""
        state = self._before_validation or random_state()
        generators: list[Any] = [state]
        if distributed.world() > 1:
            generators = [None] * distributed.world()
            dist.all_gather_object(generators, state)
        rows = [logger.experiment.flush() for logger in trainer.loggers if isinstance(logger, MetricsFile)]
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        checkpoint[KEY] = {"generators": generators, "metrics_rows": rows[0] if rows else 0, "metrics": metrics}

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the state for the start of the training: until then, much draws random numbers."""
        self._loaded = checkpoint.get(KEY, {})

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keep the generators: a run that stops in a validation begins it anew."""
        self._before_validation = random_state()

    def on_validation_batch_end(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        """Stop if a signal has arrived."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            trainer.stop_in_validation()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """The generators go on from where the validation has left them."""
        self._before_validation = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Restore the state."""
        state, self._loaded = self._loaded, {}
        if not state:
            return
        world, generators = distributed.world(), state["generators"]
        if world == len(generators):
            restore_random_state(generators[distributed.rank()])
        elif trainer.is_global_zero:
            wrong = f"{len(generators)} processes trained this run until now, and {world} go on"
            print(f"warning: {wrong}: they draw other random numbers", file=sys.stderr)
        values = {name: torch.tensor(value, device=pl_module.device) for name, value in state["metrics"].items()}
        trainer._logger_connector._callback_metrics.update(values)
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile) and trainer.is_global_zero:
                logger.experiment.rewind(state["metrics_rows"])


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
        if path and (self._is_best or self.monitor is None) and trainer.is_global_zero:
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
