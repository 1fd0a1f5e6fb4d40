"""What every encoder is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..arguments import check_shape
from ..config import Configurable, to_config
from ..errors import LEAVE_OUT, UsageError
from ..ragged import Ragged
from ..readers import Reader
from .fingerprint import compute_fingerprint

# B rows, P pieces, D dimension of the space

PIECES_IN_BATCH = 32  # where nothing else is said


def make_mlp(width: int, hidden: list[int], out: int, dropout: float = 0.0) -> nn.Sequential:
    """A network of linear layers with GELU and dropout between them, width -> hidden -> out."""
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(width, size), nn.GELU(), *([nn.Dropout(dropout)] if dropout else [])]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, out))


def fill_batches(pieces: Tensor, size: int) -> list[Tensor]:
    """Numbers of pieces (N,) in batches of exactly `size`, the last one filled up with its own last number."""
    count = len(pieces)
    return [pieces[torch.arange(start, start + size).clamp(max=count - 1)] for start in range(0, count, size)]


def rows_in_batches(z: Tensor) -> list[Tensor]:
    """Rows (N, D) in batches of one shape, the last one filled up: what is computed of a row has the same bits in all.

    No rows are one batch without rows.
    """
    return [z[batch] for batch in fill_batches(torch.arange(len(z)), PIECES_IN_BATCH)] or [z]


def to_float32(x: Tensor) -> Tensor:
    """Half-precision values as float32; anything else as it is."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


class Encoder(Configurable, nn.Module):
    """A reader plus a network: pieces -> vectors (P, width) -> one a row (B, width).

    A custom encoder needs `build`, which makes the parameters once the reader has been fitted, and `pieces`.
    """

    reader: Reader
    width: int
    cached: bool = False  # training does not change the vectors of its pieces: cache them on disk

    def __init__(self, reader: Reader, width: int = 0) -> None:
        super().__init__()
        if not isinstance(reader, Reader):
            wrong = f"its reader must be a Reader, got {type(reader).__name__}"
            raise UsageError(type(self).__name__, wrong, "annotate the parameter of its constructor: reader: Reader")
        self.reader = reader
        self.width = width

    def build(self, dim: int) -> None:
        """Make the parameters, for a space of `dim` dimensions; the reader is fitted by now."""

    def pieces(self, x: Ragged) -> Tensor:
        """One vector per piece: (P, width)."""
        raise UsageError(type(self).__name__, "it has no method `pieces`", "write one: Ragged -> (P, width)")

    def pool(self, h: Tensor, x: Ragged) -> Tensor:
        """Vectors of pieces h (P, width) -> one a row (B, width): their mean."""
        return x.mean(h)

    def forward(self, x: Ragged) -> Tensor:
        """One vector per row: (B, width)."""
        h = self.pieces(x)
        check_shape(self, "pieces", h, (len(x.rows), self.width))
        return self.pool(h, x)

    def embed_arrays(self, values: Tensor) -> Tensor:
        """Pieces (P, ...) as full arrays -> (P, width), by tensors only, for an export to ONNX.

        Raises:
            UsageError: it cannot be exported.
        """
        raise UsageError(type(self).__name__, "it is not exported to ONNX from such a column", LEAVE_OUT)

    def embed_tokens(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Token ids (B, T), those of the mask (B, T) only -> (B, width); see `embed_arrays`.

        Raises:
            UsageError: it cannot be exported.
        """
        raise UsageError(type(self).__name__, "it is not exported to ONNX from such a column", LEAVE_OUT)

    def pool_windows(self, h: Tensor) -> Tensor:
        """What `pool` gives rows of P pieces each, (B, P, width) -> (B, width); see `embed_arrays`.

        Raises:
            UsageError: it has a `pool` of its own only.
        """
        if not self.pools_by_mean:
            raise UsageError(type(self).__name__, "it pools in a way that is not exported to ONNX", LEAVE_OUT)
        return h.mean(1)

    @property
    def pools_by_mean(self) -> bool:
        """Whether `pool` is the mean, which `embed` computes for many rows at once."""
        return type(self).pool is Encoder.pool

    def make_projection(self, dim: int) -> nn.Module:
        """The network (N, width) -> (N, dim) from its vectors into a space; called after `build`."""
        return nn.Linear(self.width, dim) if self.width != dim else nn.Identity()

    def length(self, x: Ragged) -> Tensor:
        """(P,) how long each piece is computed: pieces of one length make batches of one shape in `embed`."""
        return torch.zeros(len(x.rows), dtype=torch.int64)

    def tag_probabilities(self, z: Tensor) -> dict[str, Tensor]:
        """The probability (N,) of each tag that can be read off vectors (N, D) of the space; no tags by default."""
        return {}

    def derive_cells(self, z: Tensor) -> list[dict[str, Any]]:
        """The cells of other columns that can be read off vectors (N, D) of the space, such as tags; none by default.

        An index of a folder gets them as metadata. Every row has the same columns.
        """
        return [{} for _ in z]

    def batches(self, x: Ragged, size: int | None) -> list[Tensor]:
        """The numbers of the pieces of each batch in `embed`, some of them twice, so that all batches have one shape.

        Args:
            x: the pieces.
            size: the number of pieces in a batch, where it was given.
        """
        return [batch for _, pieces in self.groups(x) for batch in fill_batches(pieces, size or PIECES_IN_BATCH)]

    def groups(self, x: Ragged) -> list[tuple[int, Tensor]]:
        """The lengths of pieces, each with the numbers of the pieces that have it."""
        lengths = self.length(x)
        return [(int(length), (lengths == length).nonzero()[:, 0]) for length in torch.unique(lengths)]

    def vocabulary_vectors(self) -> Tensor | None:
        """The vectors (K, width) of all K ids that its reader knows, if it has a table of them."""
        return None

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides the vectors of its pieces; 16 hex digits."""
        return compute_fingerprint([to_config(self), self.reader.state()], self.state_dict())
