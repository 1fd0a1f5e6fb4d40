"""Metrics for a caller, as soon as they are logged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger


class ReportMetrics(Callback):
    """Reports each row of metrics that is logged, as metrics.csv has it.

    Args:
        report: called with the metrics of a row; an exception that it raises ends the training.
    """

    def __init__(self, report: Callable[[Mapping[str, float]], None]) -> None:
        self.report = report

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Add a logger that reports."""
        trainer.loggers = [*trainer.loggers, _ReportingLogger(self.report)]


class _ReportingLogger(Logger):
    name = version = "report"

    def __init__(self, report: Callable[[Mapping[str, float]], None]) -> None:
        self.report = report

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Ignore them."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Report a row."""
        self.report(metrics)
