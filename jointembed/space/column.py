"""From the cells of one column to vectors of the space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute

from ..encoders import Encoder, SequenceEncoder, to_float32
from ..ragged import Ragged
from ..readers import Reader
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
        return to_float32(self.sequence.states(self.projection(self.encoder.pieces(x)), x))

    def encode(self, x: Ragged, pieces: bool = False, chunk: int = 0) -> Encoded:
        """The vectors of the rows of a batch.

        Args:
            x: the column of the batch.
            pieces: give one vector per piece too.
            chunk: recompute the networks in the backward pass, for this many rows at a time; 0: keep all activations.
        """
        if self.sequence is not None:
            read = self.sequence.crop(x)
            states = _in_chunks(self.states, read, chunk)
            z = self.sequence.last(states, read)
            return Encoded(z, x.present, x.row_keys, sequence=read, states=states)
        if pieces and x.piece_keys is not None:
            z, h = _in_chunks(self._rows_and_pieces, x, chunk)
            return Encoded(z, x.present, x.row_keys, pieces=h, piece_rows=x.rows)
        z = _in_chunks(lambda part: self.project(self.encoder(part)), x, chunk)
        return Encoded(z, x.present, x.row_keys)

    def _rows_and_pieces(self, x: Ragged) -> tuple[Tensor, Tensor]:
        h = self.encoder.pieces(x)
        return self.project(self.encoder.pool(h, x)), self.project(h)


def _in_chunks(function: Any, x: Ragged, chunk: int) -> Any:
    """`function(x)` for `chunk` rows at a time, computed again in the backward pass (GradCache, Gao et al. 2021)."""
    if not (chunk and torch.is_grad_enabled()) or not len(x):
        return function(x)
    rows = torch.arange(len(x), device=x.row_keys.device)
    parts = [recompute(function, x[part], use_reentrant=False) for part in rows.split(chunk)]  # type: ignore[no-untyped-call]
    if isinstance(parts[0], tuple):
        return tuple(torch.cat(cast("tuple[Tensor]", part)) for part in zip(*parts, strict=True))
    return torch.cat(cast("list[Tensor]", parts))
