"""Batches of an encoded table: gathered from arrays, and read again where training augments them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ..ragged import Ragged
from ..readers import Reader
from ..readers.reader import check_ragged
from .encoded_column import EncodedColumn
from .feature_cache import FeatureCache
from .join import IndirectColumn
from .sampler import BatchSpec
from .vector_cache import CachedColumn


class Batch(dict[str, Ragged]):
    """The columns of a batch.

    Attributes:
        rows: (B,) the numbers of its rows in the table.
    """

    rows: NDArray[np.int64] | None = None


class TableDataset(Dataset[Batch]):
    """Batches by their row numbers: encoded columns are gathered, columns with augmentation are read each time."""

    def __init__(
        self,
        encoded: Mapping[str, Ragged | EncodedColumn | IndirectColumn | CachedColumn],
        read: dict[str, tuple[Reader, list[Any], FeatureCache]],
        seed: int,
        train: bool,
    ) -> None:
        self.encoded, self.read, self.seed, self.train = encoded, read, seed, train

    def __getitem__(self, spec: BatchSpec) -> Batch:
        epoch, number, rows = spec
        index = torch.from_numpy(rows)
        batch = Batch({column: x[index] for column, x in self.encoded.items() if column not in self.read})
        batch.rows = rows
        for place, (column, (reader, cells, features)) in enumerate(self.read.items()):
            rng = np.random.default_rng([self.seed, epoch, number, place]) if self.train else None
            x = check_ragged(reader, reader.encode([cells[row] for row in rows], rng, features))
            x.row_keys = self.encoded[column][index].row_keys
            batch[column] = x
        return batch
