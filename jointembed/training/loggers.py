"""What a run logs to: metrics.csv always, and TensorBoard or any logger of Lightning beside it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.profilers import PassThroughProfiler, Profiler

from ..errors import missing_extra
from .metrics_file import MetricsFile

TENSORBOARD = "tensorboard"  # a folder in that of the run
PROFILE = "profile"
REPORTING_MODULES = "callbacks.monitored_metrics", "tuner.lr_finder", "tuner.batch_size_scaling"


def run_loggers(logger: Any, folder: Path, tensorboard: bool = False) -> list[Logger] | Literal[False]:
    """The loggers of a run; False if it logs nothing.

    metrics.csv comes first, so that the folder of the run is also that of what Lightning writes beside its logs.

    Args:
        logger: as Lightning's Trainer takes it: a logger or several, beside which metrics.csv is written; None or True
            for metrics.csv alone; False.
        folder: the folder of the run.
        tensorboard: also write events for TensorBoard.

    Raises:
        UsageError: TensorBoard is not installed.
    """
    if logger is False:
        return False
    if logger is None or logger is True:
        further = []
    else:
        further = list(logger) if isinstance(logger, Iterable) else [logger]
    if tensorboard:
        further.insert(0, tensorboard_logger(folder))
    return [MetricsFile(folder), *further]


def tensorboard_logger(folder: Path) -> TensorBoardLogger:
    """A logger into the folder `tensorboard` of a run; a resumed run adds to it.

    Raises:
        UsageError: TensorBoard is not installed.
    """
    try:
        return TensorBoardLogger(folder, name=TENSORBOARD, version="", default_hp_metric=False)
    except ModuleNotFoundError as error:
        raise missing_extra("tensorboard", "tensorboard") from error


def write_profile_to(folder: Path, profiler: Profiler) -> None:
    """Let a profiler write its report into a folder, unless it has a file of its own."""
    if not isinstance(profiler, PassThroughProfiler) and not profiler.filename:
        profiler.dirpath, profiler.filename = profiler.dirpath or folder, PROFILE


def hide_tips() -> None:
    """Hide what Lightning says of itself and the devices, but not what callbacks and tuners of a recipe report."""
    for package in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(package).setLevel(logging.WARNING)
    for module in REPORTING_MODULES:
        logging.getLogger(f"lightning.pytorch.{module}").setLevel(logging.INFO)
