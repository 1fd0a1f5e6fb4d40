"""A cache of the vectors of frozen encoders on disk, so that they are computed once and not in every epoch."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import __version__, values
from ..ragged import Ragged
from ..space.space import Space
from .array_cache import Array, ArrayCache
from .join import IndirectColumn

# P pieces, W width of the encoder


class VectorCache(ArrayCache):
    """The vectors (P, W) that the encoder of a column gives the pieces of each element; see `ArrayCache`.

    The file is named by the fingerprint of the encoder and the versions of torch and jointembed; the vectors of an
    element are found by a hash of its content.

    Args:
        folder: the folder of the files.
        space: that has the column.
        column: whose encoder does not change.
        device: that computes.
    """

    def __init__(self, folder: Path, space: Space, column: str, device: torch.device | None = None) -> None:
        encoder = space.encoder(column)
        self.width, self.reads_files = encoder.width, encoder.reader.reads_files
        self._space: Space | None = space
        self._column, self._device = column, device
        name = f"vectors-{encoder.fingerprint}-torch-{torch.__version__}-{__version__}"
        super().__init__(folder, name, f"vectors of {column} by {type(encoder).__name__}", 4 * self.width)

    def compute(self, elements: Sequence[Any]) -> Generator[Array]:
        """As `Space.embed` computes them, but neither pooled nor projected."""
        assert self._space is not None
        before = self._space.device
        self._space.to(self._device or before)
        try:
            yield from self._space.embed_pieces(self._column, elements)
        finally:
            self._space.to(before)

    def piece_vectors(self, element: Any) -> Array:
        """The vectors (P, W) of the pieces of an element."""
        array = self.get(self.key(element))
        return next(self.compute([element])) if array is None else array

    def encode(self, cells: Sequence[Any], title: str) -> Ragged:
        """A column of cells, whose values are the numbers of rows of `matrix`, one a piece.

        Args:
            cells: B cells, including missing ones.
            title: of the progress bar.
        """
        assert self._space is not None
        reader = self._space.reader(self._column)
        parts = [[] if values.missing(cell) else reader.elements(cell) for cell in cells]
        elements = [element for part in parts for element in part]
        for element in elements:  # damaged vectors are computed again
            self.get(self.key(element))
        self.fill(elements, title)
        numbers: list[int] = []
        rows: list[int] = []
        piece_keys: list[int] = []
        for row, part in enumerate(parts):
            for element in part:
                _, offset, (pieces, width) = self._records[self.key(element)]
                numbers += range(offset // width, offset // width + pieces)
                rows += [row] * pieces
                piece_keys += [values.key(element)] * pieces
        multiple = not reader.windowed and max(map(len, parts), default=0) > 1
        return Ragged(
            torch.tensor(numbers, dtype=torch.int64),
            torch.tensor(rows, dtype=torch.int64),
            torch.from_numpy(reader.keys(cells)),
            piece_keys=torch.tensor(piece_keys, dtype=torch.int64) if multiple else None,
        )

    @property
    def matrix(self) -> Array:
        """All vectors (N, W), memory-mapped; rows between two arrays may hold anything."""
        if self._map is None:
            return np.zeros((0, self.width), np.float32)
        return self._map[: len(self._map) // self.width * self.width].reshape(-1, self.width)

    def __getstate__(self) -> dict[str, Any]:
        # Processes that load batches need the vectors only.
        return {**super().__getstate__(), "_space": None}


class CachedColumn:
    """A column whose values are the vectors of a frozen encoder; a batch is gathered from the cache.

    Args:
        pieces: the column, as `VectorCache.encode` gives it.
        cache: that has the vectors.
    """

    def __init__(self, pieces: Ragged | IndirectColumn, cache: VectorCache) -> None:
        self.pieces, self.cache = pieces, cache

    def __getitem__(self, index: torch.Tensor) -> Ragged:
        """The rows of `index` (n,), in that order."""
        x = self.pieces[index]
        x.values, x.is_encoded = torch.from_numpy(self.cache.matrix[x.values.numpy()]), True
        return x
