"""Callbacks of the training: averaged weights, metrics of the `dev` rows, and reports."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, cast

import lightning
from lightning.pytorch.callbacks import Callback, WeightAveraging
from lightning.pytorch.loggers import Logger
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..arguments import CheckedArguments, Count, Dropout
from ..data.table import TableData
from ..errors import escape_control
from ..evaluation import retrieval
from ..evaluation.retrieval_task import RetrievalTask, build_task
from ..space.space import Space
from .joint_embedding import JointEmbedding


class ParameterSummary(Callback):
    """Prints the number of parameters of each column, and how many of them are trained."""

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Print a table."""
        if not trainer.is_global_zero:
            return
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        counts = cast(JointEmbedding, pl_module).parameter_counts()
        counts["total"] = sum(total for total, _ in counts.values()), sum(trained for _, trained in counts.values())
        table = Table("column", box=None, pad_edge=False)
        for heading in ("parameters", "trained"):
            table.add_column(heading, justify="right")
        for name, (total, trained) in counts.items():
            table.add_row(Text(escape_control(name)), f"{total:,}", f"{trained:,}")
        Console().print(table)


class EMA(CheckedArguments, WeightAveraging):
    """Averages the weights over the steps, exponentially; the averages are validated, saved and searched.

    A resumed run goes on with the weights and with their averages. Frozen weights stay as they are, bit for bit.

    Args:
        decay: share of an average that stays at a step. Over n steps at the end of a run 1 - 1 / n is a start.
    """

    def __init__(self, decay: Dropout = 0.999) -> None:
        # Lightning's own EMA multiplies and adds, which changes the last bits of weights that are equal. Buffers are
        # copied: the average of a table of integers would be rounded down.
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        super().__init__(use_buffers=False, multi_avg_fn=average)
        self._is_swapped = False  # the model has the averages, and `_average_model` the weights

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Make the averages, of a model with all of its parameters."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "You're using the WeightAveraging callback with a model that overrides")
            super().setup(trainer, pl_module, stage)

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Validate the averages."""
        super().on_validation_epoch_start(trainer, pl_module)
        self._is_swapped = True

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Go on with the weights."""
        super().on_validation_epoch_end(trainer, pl_module)
        self._is_swapped = False

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save both, also in the middle of a validation, which has exchanged them."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self._is_swapped:
            names = "state_dict", "current_model_state"
            checkpoint[names[0]], checkpoint[names[1]] = checkpoint[names[1]], checkpoint[names[0]]


class Evaluate(CheckedArguments, Callback):
    """Logs retrieval metrics on the `dev` rows after each validation, as `jointembed evaluate` prints them.

    The metric `recall@1` of the query `audio` and the target `genre` is logged as `audio-genre/recall@1`, and may
    choose the best checkpoint; see `BestAndLast`.

    Args:
        query: column of the queries.
        target: column to retrieve.
        relevant: a label column: candidates with the query's label are relevant; without it, those that a row pairs
            with the query.
        candidates_split: split whose rows are the candidates; that of the queries if not given.
        exclude: column of items that are not candidates for a row: the films that a user has seen.
        k: numbers of hits to evaluate; 1, 5 and 10 if not given.
        every_n_epochs: epochs from one evaluation to the next.
        max_queries: only this many queries, the first ones.
    """

    def __init__(
        self,
        query: str,
        target: str,
        relevant: str | None = None,
        candidates_split: str | None = None,
        exclude: str | None = None,
        k: list[Count] | None = None,
        every_n_epochs: Count = 1,
        max_queries: Count | None = None,
    ) -> None:
        self.query, self.target, self.relevant, self.exclude = query, target, relevant, exclude
        self.candidates_split, self.k = candidates_split, tuple(k or (1, 5, 10))
        self.every_n_epochs, self.max_queries = every_n_epochs, max_queries
        self._task: RetrievalTask | None = None

    @property
    def prefix(self) -> str:
        """What the names of its metrics begin with."""
        return f"{self.query}-{self.target}/"

    def _build_task(self, data: TableData, space: Space) -> RetrievalTask:
        if self._task is None:
            rows = data.dicts("train", "dev", *([self.candidates_split] if self.candidates_split else []))
            space.compose_cells(rows, self.query, self.target)
            if self.max_queries is not None:
                queries = [row for row in rows if row.get(data.split) == "dev" and self.query in row]
                surplus = {id(row) for row in queries[self.max_queries :]}
                rows = [row for row in rows if id(row) not in surplus]
            columns = self.query, self.target, self.relevant, "dev", self.candidates_split, self.exclude
            self._task = build_task(rows, *columns, set(space.pools))
        return self._task

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Embed the queries and the candidates, and log the metrics."""
        space = cast(JointEmbedding, pl_module).space
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        last = trainer.max_epochs is not None and trainer.current_epoch + 1 >= trainer.max_epochs
        if trainer.sanity_checking or ((trainer.current_epoch + 1) % self.every_n_epochs and not last):
            return
        task = self._build_task(data, space)
        caches = {"load": data.load, "piece_vectors": data.piece_vectors}
        queries = space.embed(self.query, task.queries, **caches)
        shared = self.query == self.target and task.candidates is task.queries
        candidates = queries if shared else space.embed(self.target, task.candidates, **caches)
        metrics = retrieval.evaluate(task, queries, candidates, space.metric, self.k, n_resamples=1)
        values = {f"{self.prefix}{name}": metric["value"] for name, metric in metrics.items()}
        logged = {name: float(value) for name, value in values.items() if value is not None}
        pl_module.log_dict(logged, sync_dist=True)  # all processes have computed the same, and choose by it


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
