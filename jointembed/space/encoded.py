"""What the space makes of one column of a batch."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..ragged import Ragged

# B rows, P pieces, D dimension of the space


@dataclass
class Mix:
    """Row i is `share[i]` (B,) of itself and the rest of row `partner[i]` (B,)."""

    partner: Tensor
    share: Tensor

    def __call__(self, targets: Tensor) -> Tensor:
        """Targets (B, ...) mixed as their rows are."""
        share = self.share.to(targets.dtype).reshape(-1, *[1] * (targets.dim() - 1))
        return share * targets + (1 - share) * targets[self.partner]


@dataclass
class Encoded:
    """The vectors of one column of a batch.

    Args:
        z: (B, D) one vector per row; 0 for a row without pieces.
        present: (B,) whether the row has a cell in this column.
        row_keys: (B,) int64, equal cells have equal keys.
        pieces: (P, D) one vector per piece, for columns whose pieces are targets one by one.
        piece_rows: (P,) the row of each piece.
        mix: how mixup combined the rows, in training.
        sequence: the pieces that a sequence encoder read, P' of them.
        states: (P', D) its state at each of these pieces.
        chunks: parts in which the rows are computed, and again in the backward pass; see `compute_in_chunks`.
    """

    z: Tensor
    present: Tensor
    row_keys: Tensor
    pieces: Tensor | None = None
    piece_rows: Tensor | None = None
    mix: Mix | None = None
    sequence: Ragged | None = None
    states: Tensor | None = None
    chunks: int = 1
