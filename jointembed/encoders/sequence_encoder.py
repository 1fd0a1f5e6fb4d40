"""The base class of encoders that read the pieces of a row in order."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from ..config import Configurable
from ..errors import LEAVE_OUT, UsageError
from ..ragged import Ragged, ranges
from .encoder import to_float32

# B rows, P pieces, T steps, D dimension of the space


class SequenceEncoder(Configurable, nn.Module):
    """Reads the last pieces of a row in order: vectors of pieces (P, D) -> a state at each of them (P, D).

    The state at a piece knows that piece and those before it; the vector of a row is the state at its last piece. In
    training, a row that is longer than `length` gives a stretch from anywhere in it. A custom sequence encoder needs
    `build` and `states`.

    Args:
        length: pieces that are read.
    """

    def __init__(self, length: int = 200) -> None:
        super().__init__()
        self.length = length

    def build(self, dim: int) -> None:
        """Make the network, for vectors of `dim` numbers."""

    def crop(self, x: Ragged) -> Ragged:
        """The pieces of x that are read."""
        counts = x.counts.clamp(max=self.length)
        first = x.starts[1:] - counts
        if self.training:
            spare = x.counts - counts
            first = first - (torch.rand(len(spare), device=spare.device) * (spare + 1)).long()
        positions = ranges(first, counts)
        piece_keys = None if x.piece_keys is None else x.piece_keys[positions]
        pieces = x.take(positions)
        return replace(pieces, rows=x.rows[positions], row_keys=x.row_keys, piece_keys=piece_keys)

    def states(self, h: Tensor, x: Ragged) -> Tensor:
        """Vectors of the pieces that are read h (P, D) -> the state at each of them (P, D)."""
        raise UsageError(type(self).__name__, "it has no method `states`", "write one: (h, x) -> (P, D)")

    def read(self, h: Tensor) -> Tensor:
        """Vectors (B, T, D) of T pieces a row -> its vector (B, D), by tensors only, for an export to ONNX.

        Raises:
            UsageError: it cannot be exported.
        """
        raise UsageError(type(self).__name__, "reading pieces with it is not exported to ONNX", LEAVE_OUT)

    def steps(self, x: Ragged) -> Tensor:
        """(B,) how many steps each row is computed with: the power of two that holds the pieces read of it."""
        sizes = x.counts.clamp(1, self.length)
        return (2 ** torch.ceil(torch.log2(sizes.double())).long()).clamp(max=self.length)

    def pad(self, h: Tensor, x: Ragged) -> tuple[Tensor, Tensor]:
        """Vectors of pieces (P, D) as a rectangle (B, T, D), filled up at the end, and the step (P,) of each piece."""
        h = to_float32(h)
        step = torch.arange(len(h), device=h.device) - x.starts[:-1][x.rows]
        padded = h.new_zeros(len(x), int(self.steps(x).max()) if len(x) else 1, h.shape[1])
        padded[x.rows, step] = h
        return padded, step

    def last(self, states: Tensor, x: Ragged) -> Tensor:
        """States (P, D) -> the one at each row's last piece (B, D), and 0 for a row without pieces."""
        ends = (x.starts[1:] - 1).clamp(min=0)
        if not len(states):
            return states.new_zeros(len(x), states.shape[1]) + 0 * states.sum()
        return states[ends] * x.present[:, None]
