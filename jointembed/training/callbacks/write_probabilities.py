"""The likeliest labels of a table's rows as a file, from `Trainer.predict`, calibrated on the dev rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from ... import files
from ...errors import UsageError, UserError
from ...evaluation.prediction import expected_calibration_error, fit_temperature
from ...objectives import Objective
from ...ragged import Ragged
from ...space.encoded import Encoded
from ...values import escape_surrogates
from ..joint_embedding import JointEmbedding
from .skip_non_finite import gather_objects

# B rows of a batch, K labels

FILE = "probabilities.parquet"
MAX_LOGITS = 1 << 26  # of dev rows, from which the temperature is fitted


@dataclass
class _Labelling:
    """What labels a target.

    Args:
        objective: that labels.
        labels: the K labels.
        temperature: by which the logits are divided.
        parts: of each batch: the numbers of its rows, the labels (B, k) and probabilities (B, k), whether the row has a
            cell, and whether its likeliest label is right: 1, 0, or -1 if the row has no label.
    """

    objective: Objective
    labels: list[str]
    temperature: float = 1.0
    parts: list[tuple[Any, ...]] = field(default_factory=list)


class WriteProbabilities(Callback):
    """Writes the likeliest labels of each row, with their probabilities, into probabilities.parquet in the run folder.

    Its columns are `id` (the number of the row in a table without ids) and those that the model labels, with a list of
    {label, probability}, the likeliest first, or null in rows without a cell to label. The temperature that is learned
    in training is corrected by a factor that is fitted on the dev rows, if there are any (Guo et al. 2017). The
    accuracy of each split and its expected calibration error are printed.

    Args:
        k: labels of a row.
    """

    def __init__(self, k: int = 1) -> None:
        self.k = k
        self._labellings: list[_Labelling] = []

    def on_predict_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Fit the temperatures on the dev rows.

        Raises:
            UsageError: the model labels nothing.
        """
        model = cast(JointEmbedding, pl_module)
        self._labellings, refusals = [], []
        for objective in cast("Iterable[Objective]", model.objectives):
            if objective.label_columns:
                try:
                    self._labellings.append(_Labelling(objective, objective.label_names(model.space)))
                except UserError as error:
                    refusals.append(error)
        if not self._labellings:
            wrong = "the model gives no probabilities of labels"
            raise (refusals or [UsageError("--proba", wrong, "leave it out, to write vectors")])[0]
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if len(data.numbers("dev")):
            self._fit_temperatures(model, data)

    def _fit_temperatures(self, model: JointEmbedding, data: Any) -> None:
        pairs: list[list[tuple[Any, Any]]] = [[] for _ in self._labellings]  # logits (B, K), and the labels (B, K)
        counts = np.zeros(len(pairs), np.int64)
        for batch in data.val_dataloader():
            batch = data.transfer_batch_to_device(batch, model.device, 0)
            encoded = _encode(model, batch)
            for place in np.flatnonzero(counts <= MAX_LOGITS):
                labelling = self._labellings[place]
                logits, present = _label(model, encoded, labelling.objective)
                truth = _truth(batch[cast("tuple[str, str]", labelling.objective.label_columns)[1]], logits.shape[1])
                used = present & truth.any(1)
                pairs[place].append((logits[used].cpu().numpy(), truth[used].cpu().numpy()))
                counts[place] += logits.numel()
            if (counts > MAX_LOGITS).all():
                break
        for labelling, parts in zip(self._labellings, pairs, strict=True):
            if parts:
                of_dev, labels_of_dev = (np.concatenate(part) for part in zip(*parts, strict=True))
                labelling.temperature = fit_temperature(of_dev, labels_of_dev, labelling.objective.is_exclusive)

    def on_predict_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the likeliest labels of a batch."""
        model = cast(JointEmbedding, pl_module)
        encoded = _encode(model, batch)
        for labelling in self._labellings:
            logits, present = _label(model, encoded, labelling.objective)
            probabilities = labelling.objective.to_probabilities(logits / labelling.temperature)
            best, numbers = probabilities.topk(min(self.k, len(labelling.labels)), dim=1)
            target = cast("tuple[str, str]", labelling.objective.label_columns)[1]
            truth = _truth(batch[target], len(labelling.labels))
            right = truth.gather(1, numbers[:, :1])[:, 0].long().masked_fill(~truth.any(1), -1)
            columns = (part.cpu().numpy() for part in (numbers, best, present, right))
            labelling.parts.append((batch.rows, *columns))

    def on_predict_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write the file, with the rows of all processes in their order, and print how right it is."""
        import pyarrow as pa
        from pyarrow import parquet

        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        arrays: dict[str, Any] = {}
        lines = []
        targets = [cast("tuple[str, str]", labelling.objective.label_columns)[1] for labelling in self._labellings]
        for labelling, target in zip(self._labellings, targets, strict=True):
            parts = [part for parts in gather_objects(labelling.parts) for part in parts]
            labelling.parts = []
            if not trainer.is_global_zero or not parts:
                continue
            rows, numbers, best, present, right = (np.concatenate(part) for part in zip(*parts, strict=True))
            order = np.argsort(rows, kind="stable")
            rows, numbers, best, present, right = (part[order] for part in (rows, numbers, best, present, right))
            if not arrays:
                ids = [escape_surrogates(id) if isinstance(id, str) else id for id in data.ids(rows)]
                arrays["id"] = pa.array(ids)
            name = target if targets.count(target) == 1 else labelling.objective.name
            labels = pa.array(labelling.labels, pa.string()).take(pa.array(numbers.ravel()))
            pairs = pa.StructArray.from_arrays([labels, pa.array(best.ravel())], ["label", "probability"])
            bounds = pa.array(np.arange(len(rows) + 1) * numbers.shape[1], pa.int32())
            arrays[name] = pa.ListArray.from_arrays(bounds, pairs, mask=pa.array(~present))
            lines += _report(name, data, rows, best[:, 0], np.where(present, right, -1), labelling.temperature)
        if not arrays:
            return
        path = Path(trainer.default_root_dir) / FILE
        table = pa.table(arrays)
        files.write(path, lambda file: parquet.write_table(table, file))
        print(f"{path}: {table.num_rows:,} rows, the {self.k} likeliest labels of {', '.join(list(arrays)[1:])}")
        print("\n".join(lines))


@torch.inference_mode()
def _encode(model: JointEmbedding, batch: dict[str, Ragged]) -> dict[str, Encoded]:
    """The vectors of every column, computed once for all objectives."""
    return cast("dict[str, Encoded]", model(batch))


def _label(model: JointEmbedding, encoded: dict[str, Encoded], objective: Objective) -> tuple[Tensor, Tensor]:
    """The logits (B, K) of the labels, and which rows have a cell to label (B,)."""
    column = encoded[cast("tuple[str, str]", objective.label_columns)[0]]
    with torch.inference_mode(), torch.autocast(model.device.type, enabled=False):
        return objective.label_logits(column.z.float(), model.space).float(), column.present


def _truth(x: Ragged, count: int) -> Tensor:
    """Which of `count` labels the rows of a column have, (B, K) bool; unknown labels are left out."""
    truth = torch.zeros(len(x), count + 1, dtype=torch.bool, device=x.values.device)
    truth[x.rows, x.values.clamp(max=count)] = True
    return truth[:, :count]


def _report(name: str, data: Any, rows: Any, confidences: Any, right: Any, temperature: float) -> list[str]:
    """A line for each split: how many of the likeliest labels are right, and how far that is from their probability."""
    lines = []
    for split in ("train", "dev", "test"):
        used = np.isin(rows, data.numbers(split)) & (right >= 0)
        if used.any():
            error = expected_calibration_error(confidences[used], right[used] == 1)
            accuracy = f"accuracy {np.mean(right[used] == 1):.3f}"
            lines.append(f"{name}, {split}: {accuracy}, expected calibration error {error:.3f} ({used.sum():,} rows)")
    if temperature != 1:
        lines.append(f"{name}: temperature multiplied by {temperature:.3f}, which was fitted on the dev rows")
    return lines
