"""The vectors of a table's rows as a file, from `Trainer.predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import lightning
import numpy as np
from lightning.pytorch.callbacks import Callback

from ... import files
from ...values import escape_surrogates
from ..joint_embedding import JointEmbedding
from .skip_non_finite import gather_objects

FILE = "vectors.parquet"


class WriteVectors(Callback):
    """Writes what `predict` computes into vectors.parquet in the run folder.

    Its columns are `id` (the number of the row in a table without ids) and those of the model, with the vectors that
    `Space.embed` gives, or null in rows without a cell.
    """

    def __init__(self) -> None:
        self._parts: list[tuple[Any, dict[str, Any], dict[str, Any]]] = []  # row numbers, vectors, which are there

    def on_predict_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the vectors of a batch."""
        vectors = {column: z.float().cpu().numpy() for column, z in outputs.items()}
        absent = {column: np.isnan(z).any(1) for column, z in vectors.items()}
        self._parts.append((batch.rows, vectors, absent))

    def on_predict_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write the file, with the rows of all processes in their order."""
        import pyarrow as pa
        from pyarrow import parquet

        parts = [part for parts in gather_objects(self._parts) for part in parts]
        self._parts = []
        if not trainer.is_global_zero or not parts:
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        dim = cast(JointEmbedding, pl_module).space.dim
        numbers = np.concatenate([rows for rows, _, _ in parts])
        order = np.argsort(numbers, kind="stable")
        ids = [escape_surrogates(id) if isinstance(id, str) else id for id in data.ids(numbers[order])]
        arrays: dict[str, Any] = {"id": ids}
        for column in parts[0][1]:
            z = np.concatenate([vectors[column] for _, vectors, _ in parts])[order]
            absent = np.concatenate([mask[column] for _, _, mask in parts])[order]
            values = pa.array(np.where(absent[:, None], 0, z).ravel(), pa.float32())
            arrays[column] = pa.FixedSizeListArray.from_arrays(values, dim, mask=pa.array(absent))
        path = Path(trainer.default_root_dir) / FILE
        table = pa.table(arrays)
        files.write(path, lambda file: parquet.write_table(table, file))
        print(f"{path}: {len(numbers):,} rows, {dim} dimensions: {', '.join(parts[0][1])}")
