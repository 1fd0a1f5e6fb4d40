"""Networks over numbers."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from ..arguments import Count, Dropout, NonNegative
from ..errors import UsageError
from ..ragged import Ragged
from ..readers import Reader
from .encoder import Encoder, make_mlp

# P pieces, W width


class MLP(Encoder):
    """A small network over numbers.

    Args:
        reader: what turns cells into numbers.
        width: of the vectors.
        hidden: layers before them.
        dropout: share of the values of these layers dropped, in training.
        noise: standard deviation of the noise added to the numbers, in training; those of `Numbers` have a standard
            deviation of 1. It smooths what the network learns (Bishop 1995).
    """

    def __init__(
        self,
        reader: Reader,
        width: Count = 64,
        hidden: list[Count] | None = None,
        dropout: Dropout = 0.0,
        noise: NonNegative = 0.0,
    ) -> None:
        super().__init__(reader, width)
        self.hidden, self.dropout, self.noise = list(hidden or []), dropout, noise

    def build(self, dim: int) -> None:
        """Make the network.

        Raises:
            UsageError: the reader gives something else than numbers.
        """
        if len(self.reader.shape) != 1:
            wrong = "MLP needs numbers, and it gives none"
            raise UsageError(type(self.reader).__name__, wrong, "read the column with Numbers or PiecewiseLinear")
        self.network = make_mlp(self.reader.size, self.hidden, self.width, self.dropout)

    def pieces(self, x: Ragged) -> Tensor:
        """One vector per piece: (P, width)."""
        values = x.values
        if self.training and self.noise:
            values = values + self.noise * torch.randn_like(values)
        return self.embed_arrays(values)

    def embed_arrays(self, values: Tensor) -> Tensor:
        """Numbers (P, N) -> (P, width)."""
        return cast(Tensor, self.network(values))
