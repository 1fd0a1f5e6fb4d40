"""What happens beside the training: figures on rows that are not trained on, the run folder, the best model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import Logger

from ..data.table import TableData
from ..errors import UsageError
from ..evaluation import retrieval
from ..evaluation.retrieval_task import RetrievalTask, build_task
from ..space.space import Space


class Evaluate(Callback):
    """Logs retrieval figures on the `dev` rows after each validation, as `jointembed evaluate` would print them.

    The figure `recall@1` of the query `audio` and the target `genre` is logged as `audio-genre/recall@1`, and may be
    what the best checkpoint is chosen by.

    Args:
        query: column of what asks.
        target: column of what is to be found.
        relevant: column of a label that makes targets right; without it, those paired with the query by a row.
        against: split whose rows are the candidates; the same rows if not given.
        exclude: column of what is no candidate for a row: the films that a user has seen.
        k: how many hits are looked at.
        every: epochs from one evaluation to the next.
        most: queries at most, the first ones.
    """

    def __init__(
        self,
        query: str,
        target: str,
        relevant: str | None = None,
        against: str | None = None,
        exclude: str | None = None,
        k: list[int] | None = None,
        every: int = 1,
        most: int | None = None,
    ) -> None:
        self.query, self.target, self.relevant, self.against = query, target, relevant, against
        self.exclude = exclude
        self.k, self.every, self.most = tuple(k or (1, 5, 10)), every, most
        self._task: RetrievalTask | None = None

    @property
    def name(self) -> str:
        """What its figures are logged under."""
        return f"{self.query}-{self.target}"

    def _prepared(self, data: TableData, space: Space) -> RetrievalTask:
        if self._task is None:
            rows = data.dicts("train", "dev", *([self.against] if self.against else []))
            space.compose_cells(rows, self.query, self.target)
            if self.most is not None:
                seen = [row for row in rows if row.get(data.split) == "dev" and self.query in row]
                late = {id(row) for row in seen[self.most :]}
                rows = [row for row in rows if id(row) not in late]
            whole = set(space.pools)
            self._task = build_task(
                rows, self.query, self.target, self.relevant, "dev", self.against, self.exclude, whole
            )
        return self._task

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Embed the queries and the candidates, and log the figures."""
        model: Any = pl_module
        space: Space = model.space
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        last = trainer.max_epochs is not None and trainer.current_epoch + 1 >= trainer.max_epochs
        if trainer.sanity_checking or ((trainer.current_epoch + 1) % self.every and not last):
            return
        asked = self._prepared(data, space)
        queries = space.embed(self.query, asked.queries, load=data.load)
        same = self.query == self.target and asked.candidates is asked.queries
        candidates = queries if same else space.embed(self.target, asked.candidates, load=data.load)
        found = retrieval.evaluate(asked, queries, candidates, space.metric, self.k, n_resamples=1)
        values = {f"{self.name}/{key}": figure["value"] for key, figure in found.items()}
        model.log_dict({key: float(value) for key, value in values.items() if value is not None}, rank_zero_only=True)


class RefuseExistingRun(Callback):
    """Refuses a run folder that holds a run already, unless that is what goes on."""

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Look into `trainer.default_root_dir` before anything is written there."""
        root = Path(trainer.default_root_dir)
        if stage == "fit" and (root / "last.ckpt").exists() and not trainer.ckpt_path:
            raise UsageError(
                root,
                "the folder holds a run already",
                "add --ckpt_path last to go on with it, or give another --trainer.default_root_dir",
            )


class BestAndLast(ModelCheckpoint):
    """Keeps `best.ckpt` and `last.ckpt` in the folder of the run.

    Args:
        monitor: the logged figure that chooses the best. None, or without `dev` rows: the last is the best, as it is
            wherever the learning rate falls to 0 and the rows to choose by are few.
        mode: whether `max` or `min` of it is best.
    """

    def __init__(self, monitor: str | None = "dev/loss", mode: str = "min") -> None:
        super().__init__(
            monitor=monitor,
            mode=mode,
            filename="best",
            save_last=True,
            enable_version_counter=False,
            auto_insert_metric_name=False,
        )

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Take the folder of the run; without rows to choose by, keep the newest."""
        self.dirpath = trainer.default_root_dir
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, TableData) and not len(data.numbers("dev")):
            self.monitor = None
        if self.monitor is None:
            self._save_on_train_epoch_end = True
        super().setup(trainer, pl_module, stage)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keep the last: Lightning's own does so only where there is a new best."""
        super().on_train_epoch_end(trainer, pl_module)
        fast: Any = trainer
        if not fast.fast_dev_run and self._last_global_step_saved != trainer.global_step:
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

    def _should_skip_saving_checkpoint(self, trainer: lightning.Trainer) -> bool:
        # `Evaluate` may leave out epochs: until it has spoken there is nothing to choose by.
        unknown = self.monitor is not None and self.monitor not in trainer.callback_metrics
        return unknown or super()._should_skip_saving_checkpoint(trainer)


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
