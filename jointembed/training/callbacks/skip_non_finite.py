"""Updates that are not finite are skipped and counted, and stop a training that goes on with them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.optim import Optimizer

from ...arguments import CheckedArguments, Count
from ...errors import DivergedError
from ...ragged import Ragged
from ...space import checkpoint

# B rows, P pieces

MAX_IDS_IN_MESSAGE = 5
MAX_MESSAGES = 10


class SkipNonFinite(CheckedArguments, Callback):
    """Skips each update whose loss or gradient is not finite, on all processes together.

    The weights, and what the optimizer knows of them, stay as they are. The update is reported, counted in
    `train/skipped_updates`, and written with the ids of its rows into `non_finite.jsonl` in the run folder: those rows
    whose numbers or vectors are not finite, or, if there are none, all of the batch.

    Args:
        max_in_a_row: this many updates in a row that are not finite stop the training. Weights that are not finite stop
            it at once.

    Raises:
        DivergedError: the training is stopped.
    """

    def __init__(self, max_in_a_row: Count = 3) -> None:
        self.max_in_a_row = max_in_a_row
        self.count = self.in_a_row = 0
        self._batch: dict[str, Ragged] = {}
        self._rows: list[int] = []  # of the batches since the last update, by their numbers in the table
        self._suspects: list[int] = []  # of those, the rows that are not finite
        self._finite_loss = True

    def state_dict(self) -> dict[str, Any]:
        """How many updates were skipped."""
        return {"count": self.count, "in_a_row": self.in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.count, self.in_a_row = state_dict["count"], state_dict["in_a_row"]

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Remember the batch."""
        self._batch = batch

    def on_before_backward(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, loss: Tensor
    ) -> None:
        """Look at the loss of a batch."""
        self._rows += _row_numbers(self._batch)
        if not loss.isfinite():
            self._finite_loss = False
            self._suspect(pl_module)

    def _suspect(self, model: lightning.LightningModule) -> None:
        numbers = _row_numbers(self._batch)
        places = find_non_finite_rows(model, self._batch)
        self._suspects += [numbers[place] for place in places] if numbers else []

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, optimizer: Optimizer
    ) -> None:
        """Drop the gradients, so that no optimizer makes a step, if they or the loss are not finite."""
        # The scaler of float16 skips such gradients itself, and expects some of them.
        scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        finite_gradient = scaled or has_finite_gradients(optimizer)
        finite = self._finite_loss and finite_gradient
        finite = trainer.strategy.reduce_boolean_decision(finite, all=True)
        if not finite:
            optimizer.zero_grad(set_to_none=True)
            if self._finite_loss and not finite_gradient:
                self._suspect(pl_module)
            self._report(trainer, pl_module)
        else:
            self.in_a_row = 0
        self._rows, self._suspects, self._finite_loss = [], [], True

    def _report(self, trainer: lightning.Trainer, model: lightning.LightningModule) -> None:
        self.count += 1
        self.in_a_row += 1
        own = "" if self._finite_loss else "loss", *(_row_ids(trainer, rows) for rows in (self._suspects, self._rows))
        parts = gather_objects(own)
        kind = "loss" if any(part[0] for part in parts) else "gradient"
        suspects = [id for part in parts for id in part[1]]
        ids = suspects or [id for part in parts for id in part[2]]
        file = Path(trainer.default_root_dir) / "non_finite.jsonl"
        listed = ", ".join(str(id) for id in ids[:MAX_IDS_IN_MESSAGE])
        listed += f" and {len(ids) - MAX_IDS_IN_MESSAGE} more" if len(ids) > MAX_IDS_IN_MESSAGE else ""
        rows = f"row {listed}" if len(ids) == 1 else f"rows {listed}" if ids else "rows unknown"
        if trainer.is_global_zero:
            file.parent.mkdir(parents=True, exist_ok=True)
            record = {"step": trainer.global_step, "epoch": trainer.current_epoch, "kind": kind, "ids": ids}
            with open(file, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(record, default=str) + "\n")
            if self.count <= MAX_MESSAGES:
                wrong = f"the {kind} of step {trainer.global_step} is not finite, so its update is skipped"
                print(f"warning: {wrong} ({rows})", file=sys.stderr)
        name = checkpoint.find_non_finite(model.state_dict())
        if name is not None:
            wrong = f"the weights {name} are not finite at step {trainer.global_step} ({rows})"
            raise DivergedError("training", wrong, "use a lower learning rate, or trainer.gradient_clip_val: 1.0")
        if self.in_a_row >= self.max_in_a_row:
            wrong = f"the {kind} was not finite in {self.in_a_row} updates in a row, the last of them with {rows}"
            fix = f"correct or leave out these rows ({file} lists all of them), or use a lower learning rate"
            raise DivergedError("training", wrong, fix)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Log how many updates were skipped, if any."""
        if self.count:
            pl_module.log("train/skipped_updates", float(self.count), rank_zero_only=True)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Say how many updates were skipped, if any."""
        if self.count and trainer.is_global_zero:
            updates = "1 update was" if self.count == 1 else f"{self.count} updates were"
            file = Path(trainer.default_root_dir) / "non_finite.jsonl"
            print(f"warning: {updates} not finite and skipped; {file} lists their rows", file=sys.stderr)


def has_finite_gradients(optimizer: Optimizer) -> bool:
    """Whether all gradients that an optimizer would use are finite."""
    sums = []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                gradient = parameter.grad
                values = gradient._values() if gradient.is_sparse else gradient
                sums.append(values.sum(dtype=torch.float32))  # one pass; a sum keeps what is not finite
    return not sums or bool(torch.stack(sums).isfinite().all())


def find_non_finite_rows(model: nn.Module, batch: dict[str, Ragged]) -> list[int]:
    """The places in a batch of rows whose numbers are not finite; if there are none, those whose vectors are not."""
    rows: set[int] = set()
    for x in batch.values():
        if x.values.is_floating_point() and x.offsets is None:
            finite = x.values.flatten(1).isfinite().all(1)  # (P,)
            rows.update(x.rows[~finite].tolist())
    if not rows:
        modes = {module: module.training for module in model.modules()}
        model.eval()
        try:
            with torch.no_grad():
                for encoded in model(batch).values():
                    rows.update((~encoded.z.isfinite().all(1)).nonzero()[:, 0].tolist())
        finally:
            for module, training in modes.items():
                module.training = training
    return sorted(rows)


def gather_objects(part: Any) -> list[Any]:
    """An object of each process."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [part]
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, part)
    return parts


def _row_numbers(batch: Any) -> list[int]:
    """The numbers of the rows of a batch in their table; none if it does not come from one."""
    rows = getattr(batch, "rows", None)
    return [] if rows is None else rows.tolist()


def _row_ids(trainer: lightning.Trainer, numbers: list[int]) -> list[Any]:
    """The ids of rows; looked up only for a report, as a table of millions has as many ids."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    return data.ids(np.array(numbers)) if numbers else []
