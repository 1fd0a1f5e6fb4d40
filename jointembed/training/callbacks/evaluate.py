"""Retrieval metrics of the `dev` rows after each validation."""

from __future__ import annotations

from typing import Any, cast

import lightning
from lightning.pytorch.callbacks import Callback

from ...arguments import CheckedArguments, Count
from ...data.retrieval_rows import retrieval_rows
from ...data.table import TableData
from ...evaluation import retrieval
from ...evaluation.retrieval_task import RetrievalTask, build_task
from ...space.space import Space
from ..joint_embedding import JointEmbedding


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
            names = self.query, self.target, self.relevant, self.exclude, self.candidates_split
            rows = retrieval_rows(data, space, *names)
            space.compose_cells(rows, self.query, self.target)
            if self.max_queries is not None:
                queries = [row for row in rows if row["split"] == "dev" and row.get(self.query) is not None]
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
