"""Whether a training learns anything, measured at every evaluation."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from ...evaluation.health import effective_rank, mean_cosine, to_unit
from ...objectives import distributed
from ...space.encoded import Encoded
from ..joint_embedding import JointEmbedding

# B rows, N vectors, D dimension of the space

MAX_ROWS = 512  # that are measured at an evaluation
MIN_ROWS = 16  # fewer rows say nothing about a training
SHUFFLES = 16
DEVIATIONS = 4.0  # of the losses of shuffled rows, by which the loss must be lower than their mean
MIN_GAIN = 1e-3  # as a share of the loss of shuffled rows
SURE_GAIN = 0.25  # likewise, whatever the deviations
MIN_CHANGE = 1e-4  # of the loss since the first evaluation, as a share of it
EVALUATIONS_TO_ALARM = 3  # without any gain, one after the other
MAX_LOSS = 10.0  # above the loss of vectors of zeros, as a multiple of it
SAME_DIRECTION = 0.99  # a mean cosine above which all vectors are nearly equal


class CollapseAlarm(Callback):
    """Measures at every evaluation whether the vectors have collapsed, and whether the loss is better than chance.

    For each column, `health/COLUMN/mean_cosine` is the mean cosine between the vectors of different cells, 1 if they
    are all equal, and `health/COLUMN/effective_rank` the number of dimensions that they fill (Roy and Vetterli 2007).
    For each objective, `health/OBJECTIVE/loss_to_chance` is its loss as a share of chance: the loss where each query
    has the vector of another row. An objective that is at chance, whose loss has not changed since the first
    evaluation, or is ten times that of vectors of zeros, three times in a row or when the training ends, is reported.
    The rows are `dev` rows; without them, those of the last batch of an epoch.
    """

    def __init__(self) -> None:
        self._vectors: dict[str, list[tuple[Tensor, Tensor]]] = {}  # of the batches: vectors, keys of their cells
        self._losses: dict[str, list[Tensor]] = {}  # of a batch (2 + SHUFFLES,): of its rows, of zeros, shuffled
        self._rows: list[int] = []
        self._at_chance: dict[str, int] = {}  # evaluations in a row
        self._first: dict[str, float] = {}  # the losses of the first evaluation
        self._reports: dict[str, str] = {}
        self._batch: Any = None

    def state_dict(self) -> dict[str, Any]:
        """The evaluations in a row at which an objective was at chance."""
        return {"at_chance": {**self._at_chance}, "first": {**self._first}, "reports": {**self._reports}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self._at_chance, self._first = dict(state_dict["at_chance"]), dict(state_dict["first"])
        self._reports = dict(state_dict["reports"])

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Remember the batch."""
        self._batch = batch

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Measure the last batch if nothing is validated."""
        if not trainer.num_val_batches or not sum(trainer.num_val_batches):
            self._start()
            modes = {module: module.training for module in pl_module.modules()}
            pl_module.eval()
            self._measure(trainer, cast(JointEmbedding, pl_module), self._batch)
            for module, training in modes.items():
                module.training = training
            self._finish(pl_module)
        self._batch = None

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Forget the last evaluation."""
        self._start()

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Measure the first batches; their number is the same in all processes, which compute losses together."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if batch_idx < max(1, MAX_ROWS // getattr(data, "batch_size", MAX_ROWS)) and not trainer.sanity_checking:
            self._measure(trainer, cast(JointEmbedding, pl_module), batch)

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Log the measures, and report an objective that stays at chance."""
        if not trainer.sanity_checking:
            self._finish(pl_module)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Report each objective that is at chance now."""
        for name, count in self._at_chance.items():
            if 0 < count < EVALUATIONS_TO_ALARM and trainer.is_global_zero:
                print(self._reports[name], file=sys.stderr)

    def _start(self) -> None:
        self._vectors, self._losses, self._rows = {}, {}, []

    def _measure(self, trainer: lightning.Trainer, model: JointEmbedding, batch: Any) -> None:
        with torch.no_grad(), trainer.precision_plugin.forward_context(), _seeded(model.device):
            encoded = model(batch)
            for column, part in encoded.items():
                self._vectors.setdefault(column, []).append(gather_present(part))
            self._rows.append(len(distributed.gather(next(iter(encoded.values())).row_keys)[0]))
            for number, objective in enumerate(model._objectives):
                query, *rest = objective.columns()
                if query in rest:
                    continue  # to shuffle it would shuffle its targets too
                queries = [encoded[query], zero(encoded[query])]
                queries += [shuffle(encoded[query]) for _ in range(SHUFFLES)]
                losses = [model.compute_loss(objective, {**encoded, query: part}, batch) for part in queries]
                # The loss of all processes is the mean of theirs.
                everywhere = distributed.gather(torch.stack(losses)[None])[0].mean(0)
                self._losses.setdefault(f"{number}_{objective.name}", []).append(everywhere.cpu())

    def _finish(self, model: lightning.LightningModule) -> None:
        measures: dict[str, float] = {}
        for column, parts in self._vectors.items():
            z = select_distinct(parts)
            z = z[z.isfinite().all(1)]  # `SkipNonFinite` deals with the others
            if len(z) > 1:
                measures[f"health/{column}/mean_cosine"] = mean_cosine(z.numpy())
                measures[f"health/{column}/effective_rank"] = effective_rank(to_unit(z.numpy()))
        if sum(self._rows) >= MIN_ROWS:
            weights = torch.tensor(self._rows, dtype=torch.float64)
            for name, batches in self._losses.items():
                losses = (torch.stack(batches).double() * weights[:, None]).sum(0) / weights.sum()
                self._judge(name, float(losses[0]), float(losses[1]), losses[2:], measures, model)
        model.log_dict(measures, rank_zero_only=True)
        self._start()

    def _judge(
        self,
        name: str,
        loss: float,
        uninformed: float,
        shuffled: Tensor,
        measures: dict[str, float],
        model: lightning.LightningModule,
    ) -> None:
        chance = float(shuffled.mean())
        if not math.isfinite(loss - chance) or loss == chance == uninformed == 0:  # no rows to measure it by
            return
        measures[f"health/{name}/loss_to_chance"] = loss / chance if chance else 1.0
        first = self._first.setdefault(name, loss)
        gain = min(DEVIATIONS * float(shuffled.std()), SURE_GAIN * abs(chance)) + MIN_GAIN * abs(chance)
        unchanged = name in self._at_chance and abs(loss - first) <= MIN_CHANGE * abs(first)
        diverged = loss - uninformed > MAX_LOSS * max(1.0, abs(uninformed))
        if chance - loss > gain and not unchanged and not diverged:
            self._at_chance[name] = 0
            return
        self._at_chance[name] = self._at_chance.get(name, 0) + 1
        query = cast(JointEmbedding, model)._objectives[int(name.partition("_")[0])].columns()[0]
        cosine = measures.get(f"health/{query}/mean_cosine", 0.0)
        same = cosine > SAME_DIRECTION
        reason = f"; the vectors of {query} are nearly equal (mean cosine {cosine:.3f})" if same else ""
        measured = f"is that of shuffled rows, {chance:.4g}"
        if diverged:
            measured = f"is far above that of vectors of zeros, {uninformed:.4g}"
        elif unchanged:
            measured = "has not changed since the first evaluation"
        self._reports[name] = (
            f"warning: the objective {name} learns nothing: its loss, {loss:.4g}, {measured}{reason}. "
            f"Fix: check that {query} and its target belong together, and try another lr"
        )
        if self._at_chance[name] == EVALUATIONS_TO_ALARM and model.trainer.is_global_zero:
            print(self._reports[name], file=sys.stderr)


@contextmanager
def _seeded(device: torch.device) -> Iterator[None]:
    """Draw the same numbers at each evaluation, and leave the random state of the training as it is."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        yield


def shuffle(encoded: Encoded) -> Encoded:
    """A column in which each row that is present has the vector of another one, picked at random."""

    def permute(x: Tensor | None) -> Tensor | None:
        return None if x is None else x[torch.randperm(len(x), device=x.device)]

    rows = encoded.present.nonzero()[:, 0]
    z = encoded.z.clone()
    z[rows] = encoded.z[rows[torch.randperm(len(rows), device=rows.device)]]
    return replace(encoded, z=z, pieces=permute(encoded.pieces), states=permute(encoded.states))


def zero(encoded: Encoded) -> Encoded:
    """A column whose vectors are all zeros, by which each candidate has the same score."""

    def blank(x: Tensor | None) -> Tensor | None:
        return None if x is None else torch.zeros_like(x)

    return replace(encoded, z=torch.zeros_like(encoded.z), pieces=blank(encoded.pieces), states=blank(encoded.states))


def gather_present(encoded: Encoded) -> tuple[Tensor, Tensor]:
    """The vectors (N, D) of the cells of a column in all processes, and their keys (N,)."""
    z, _ = distributed.gather(encoded.z[encoded.present].float())
    keys, _ = distributed.gather(encoded.row_keys[encoded.present])
    return z.cpu(), keys.cpu()


def select_distinct(parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The vectors (N, D) of the different cells of a column; of all of its rows if these are equal."""
    z, keys = torch.cat([z for z, _ in parts]), torch.cat([keys for _, keys in parts])
    _, number = torch.unique(keys, return_inverse=True)
    if not len(number) or not number.any():
        return z
    first = torch.full((int(number.max()) + 1,), len(keys))
    return z[first.scatter_reduce(0, number, torch.arange(len(keys)), "amin")]
