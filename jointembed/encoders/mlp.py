"""Networks over numbers."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from ..arguments import Count
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
    """

    def __init__(self, reader: Reader, width: Count = 64, hidden: list[Count] | None = None) -> None:
        super().__init__(reader, width)
        self.hidden = list(hidden or [])

    def build(self, dim: int) -> None:
        """Make the network.

        Raises:
            UsageError: the reader gives something else than numbers.
        """
        if len(self.reader.shape) != 1:
            wrong = "MLP needs numbers, and it gives none"
            raise UsageError(type(self.reader).__name__, wrong, "read the column with Numbers or PiecewiseLinear")
        self.network = make_mlp(self.reader.size, self.hidden, self.width)

    def pieces(self, x: Ragged) -> Tensor:
        """One vector per piece: (P, width)."""
        return cast(Tensor, self.network(x.values))
