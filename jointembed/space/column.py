"""From the cells of one column to vectors of the space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..arguments import check_shape
from ..encoders import Encoder, SequenceEncoder, group_by_length, to_float32
from ..ragged import Ragged, ranges
from ..readers import Reader
from .chunks import compute_in_chunks
from .encoded import Encoded

# B rows, P pieces, W width of the encoder, D dimension of the space


@dataclass
class Column:
    """How the cells of one column become vectors.

    Args:
        reader: cells -> pieces.
        encoder: pieces -> vectors (P, W), and one a row (B, W).
        projection: (N, W) -> (N, D).
        dim: D.
        sequence: reads the pieces of a row in their order, if it is given.
    """

    reader: Reader
    encoder: Encoder
    projection: nn.Module
    dim: int
    sequence: SequenceEncoder | None = None

    def project(self, h: Tensor) -> Tensor:
        """Vectors of the encoder (N, W) -> vectors of the space (N, D), in float32 at least."""
        return to_float32(self.projection(h))

    def states(self, x: Ragged) -> Tensor:
        """The state (P, D) of the sequence encoder at each piece."""
        assert self.sequence is not None
        h = self.projection(self._pieces(x))
        groups = group_by_length(self.sequence.steps(x))
        if len(groups) < 2:
            return to_float32(self.sequence.states(h, x))
        parts = [(x[rows], ranges(x.starts[rows], x.counts[rows])) for rows in groups]
        states = torch.cat([self.sequence.states(h[pieces], part) for part, pieces in parts])
        return to_float32(states[torch.argsort(torch.cat([pieces for _, pieces in parts]))])

    def encode(self, x: Ragged, pieces: bool = False, chunk: int = 0) -> Encoded:
        """The vectors of the rows of a batch.

        Args:
            x: the column of the batch.
            pieces: give one vector per piece too.
            chunk: recompute the networks in the backward pass, for this many rows at a time; 0: keep all activations.
        """
        chunks = -(-len(x) // chunk) if chunk else 1

        def compute(function: Callable[[Ragged], Any], column: Ragged) -> Any:
            def of_rows(rows: Tensor) -> Any:
                return function(column[rows] if chunks > 1 else column)

            return compute_in_chunks(of_rows, len(column), chunks, column.row_keys.device)

        if self.sequence is not None:
            read = self.sequence.crop(x)
            states = compute(self.states, read)
            z = self.sequence.last(states, read)
            return Encoded(z, x.present, x.row_keys, sequence=read, states=states, chunks=chunks)
        if pieces and x.piece_keys is not None:
            z, h = compute(self._rows_and_pieces, x)
            return Encoded(z, x.present, x.row_keys, pieces=h, piece_rows=x.rows, chunks=chunks)
        z = compute(self._rows, x)
        return Encoded(z, x.present, x.row_keys, chunks=chunks)

    def _pieces(self, x: Ragged) -> Tensor:
        h = self.encoder.pieces(x)
        check_shape(self.encoder, "pieces", h, (len(x.rows), self.encoder.width))
        return h

    def _rows(self, x: Ragged) -> Tensor:
        h = self.encoder(x)
        check_shape(self.encoder, "forward", h, (len(x), self.encoder.width))
        return self.project(h)

    def _rows_and_pieces(self, x: Ragged) -> tuple[Tensor, Tensor]:
        h = self._pieces(x)
        return self.project(self.encoder.pool(h, x)), self.project(h)
