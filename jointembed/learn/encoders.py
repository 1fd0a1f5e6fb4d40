"""Encoders turn the pieces of a column into vectors, and pool them into one a row."""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import Usage
from .bags import summed
from .described import Described
from .ragged import Ragged, pick, repeat
from .readers import Reader, Tokens

# B rows, P pieces, V things inside pieces, T steps, W width, D dimension of the space, K known things


def mlp(width: int, hidden: list[int], out: int) -> nn.Sequential:
    """A network of linear layers with GELU between them, width -> hidden -> out."""
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(width, size), nn.GELU()]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, out))


def wide(x: Tensor) -> Tensor:
    """Half-precision values as float32; anything else as it is."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


class Encoder(Described, nn.Module):
    """A reader plus a network: pieces -> vectors (P, width) -> one a row (B, width).

    An encoder of one's own needs `build`, which makes the parameters once the reader has been fitted, and `pieces`.
    """

    reader: Reader
    width: int

    def __init__(self, reader: Reader, width: int = 0) -> None:
        super().__init__()
        self.reader = reader
        self.width = width

    def build(self, dim: int) -> None:
        """Make the parameters, for a space of `dim` dimensions; the reader is fitted by now."""

    def pieces(self, x: Ragged) -> Tensor:
        """A vector a piece: (P, width)."""
        raise Usage(type(self).__name__, "it has no method `pieces`", "write one: Ragged -> (P, width)")

    def pool(self, h: Tensor, x: Ragged) -> Tensor:
        """Vectors of pieces h (P, width) -> one a row (B, width): their mean."""
        return x.mean(h)

    def forward(self, x: Ragged) -> Tensor:
        """A vector a row: (B, width)."""
        return self.pool(self.pieces(x), x)

    def length(self, x: Ragged) -> Tensor:
        """(P,) how long each piece is computed: pieces of one length make batches of one shape in `embed`."""
        return torch.zeros(len(x.rows), dtype=torch.int64)


class Bag(Encoder):
    """The mean of learned vectors of the things in a piece: words, ids; their weighted sum for the pixels of a bitmap.

    One fused EmbeddingBag: blank pixels and absent words are never touched. Without `width` it gives vectors of the
    space itself, so that an id or a word is a point there.

    Args:
        reader: what turns cells into things with numbers.
        width: of the vectors; the dimension of the space if not given.
        hidden: layers of a network after the bag, if any.
        drop: share of the things in a bag that are left out in training: what learns to complete a set from a part.
        sparse: give gradients of the touched rows only. By default from 50,000 rows on: for narrow tables dense
            gradients are faster, for wide ones row-wise ones are by far.
    """

    def __init__(
        self,
        reader: Reader,
        width: int | None = None,
        hidden: list[int] | None = None,
        drop: float = 0.0,
        sparse: bool | None = None,
    ) -> None:
        super().__init__(reader, width or 0)
        self.hidden, self.drop, self.sparse = list(hidden or []), drop, sparse

    def build(self, dim: int) -> None:
        """Make the table of `reader.size` + 1 vectors: the last one is that of everything unknown."""
        if not self.reader.size:
            raise Usage(
                type(self.reader).__name__,
                "it knows nothing: no training row has such a cell",
                "check the column and the split of the table",
            )
        self.width = self.width or dim
        rows = self.reader.size + 1
        sparse = rows > 50_000 if self.sparse is None else self.sparse
        self.table = nn.EmbeddingBag(rows, self.width, mode="sum", sparse=sparse)
        nn.init.normal_(self.table.weight, std=self.width**-0.5)
        self.after = mlp(self.width, self.hidden, self.width) if self.hidden else nn.Identity()

    def _summed(self, values: Tensor, starts: Tensor, counts: Tensor, weights: Tensor | None) -> Tensor:
        """Bags with weights are summed by them, others averaged."""
        if weights is None:
            weights = pick((1 / counts.clamp(min=1)).to(self.table.weight.dtype), repeat(counts))
        if self.training and self.drop:
            bags, kept = repeat(counts), (torch.rand_like(weights) >= self.drop).to(weights.dtype)
            left = kept.new_zeros(len(counts)).index_add_(0, bags, kept)
            weights = weights * kept * pick(counts / left.clamp(min=1), bags)
        return summed(self.table.weight, values, starts, weights, self.table.sparse)

    def pieces(self, x: Ragged) -> Tensor:
        """A vector a piece: (P, width)."""
        if x.inner is not None:
            return cast(Tensor, self.after(self._summed(x.values, x.inner[:-1], x.inner.diff(), x.weights)))
        return cast(Tensor, self.after(F.embedding(x.values, self.table.weight, sparse=self.table.sparse)))

    def forward(self, x: Ragged) -> Tensor:
        """A vector a row (B, width), without one a piece on the way where each piece is one thing."""
        if x.inner is None and not self.hidden:
            return self._summed(x.values, x.starts[:-1], x.counts, None)
        return super().forward(x)

    @property
    def known(self) -> Tensor:
        """The vectors (K, width) of all known things, the unknown one left out."""
        return cast(Tensor, self.after(self.table.weight[: self.reader.size]))


class Dense(Encoder):
    """A small network over numbers.

    Args:
        reader: what turns cells into numbers.
        width: of the vectors.
        hidden: layers before them.
    """

    def __init__(self, reader: Reader, width: int = 64, hidden: list[int] | None = None) -> None:
        super().__init__(reader, width)
        self.hidden = list(hidden or [])

    def build(self, dim: int) -> None:
        """Make the network."""
        self.network = mlp(self.reader.size, self.hidden, self.width)

    def pieces(self, x: Ragged) -> Tensor:
        """A vector a piece: (P, width)."""
        return cast(Tensor, self.network(x.values))


class Conv(Encoder):
    """A convolutional network over windows of a spectrogram, over bitmaps or over pictures in colour.

    Each stage is a 3 x 3 convolution that halves both sides and one that refines what it gave, with a shortcut round it
    (He et al. 2016) and GroupNorm (Wu and He 2018) after each. After the last stage one
    side, that of time, is pooled by mean and by maximum, so that both what sounds on and what sounds once is seen;
    pitches are kept apart, for it matters how high something sounds.

    Args:
        reader: what turns cells into windows, bitmaps or pictures.
        channels: of each stage.
        width: of the vectors.
        dropout: share of values dropped before the last layer, in training.
        axis: which side of the input is pooled: 0 for the frames of a spectrogram, 1 for the steps of a piano roll.
            None keeps all places: for bitmaps, where it matters where something is.
    """

    centre: Tensor
    deviation: Tensor

    def __init__(
        self,
        reader: Reader,
        channels: list[int] | None = None,
        width: int = 128,
        dropout: float = 0.0,
        axis: Literal[0, 1] | None = 0,
    ) -> None:
        super().__init__(reader, width)
        self.channels = list(channels or [32, 64, 128])
        self.dropout, self.axis = dropout, axis

    def build(self, dim: int) -> None:
        """Make the network; the statistics of the reader's bands become the scale of its input."""
        centre = torch.tensor(getattr(self.reader, "centre", [0.0]), dtype=torch.float32)
        deviation = torch.tensor(getattr(self.reader, "deviation", [1.0]), dtype=torch.float32)
        self.register_buffer("centre", centre)
        self.register_buffer("deviation", deviation)
        stages = []
        before, height, width = (1, *self.reader.shape)[-3:]
        for channels in self.channels:
            stages.append(_Stage(before, channels))
            before = channels
        self.stages = nn.Sequential(*stages).to(memory_format=torch.channels_last)
        sides = [-(-side // 2 ** len(self.channels)) for side in (height, width)]
        inside = before * (sides[0] * sides[1] if self.axis is None else sides[1 - self.axis] * 2)
        self.head = nn.Sequential(nn.LayerNorm(inside), nn.Dropout(self.dropout), nn.Linear(inside, self.width))

    def pieces(self, x: Ragged) -> Tensor:
        """A vector a piece: (P, width)."""
        image = (x.dense(self.reader.shape) - self.centre) / self.deviation  # (P, T, F) or (P, 3, T, F)
        image = image.reshape(-1, *(1, *self.reader.shape)[-3:])  # (P, 1 or 3, T, F)
        h = self.stages(image.contiguous(memory_format=torch.channels_last))  # (P, C, T', F')
        if self.axis is not None:
            h = torch.cat([h.mean(2 + self.axis), h.amax(2 + self.axis)], 1)  # (P, 2 C, F')
        return cast(Tensor, self.head(wide(h.flatten(1))))


class _Stage(nn.Module):
    def __init__(self, before: int, channels: int) -> None:
        super().__init__()
        groups = max(1, channels // 16)
        self.halve = nn.Conv2d(before, channels, 3, stride=2, padding=1, bias=False)
        self.refine = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.GroupNorm(groups, channels) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.norms[0](self.halve(x)))
        return F.gelu(x + self.norms[1](self.refine(x)))


class Block(nn.Module):
    """One layer of a Transformer: attention, then a network a step, each after a LayerNorm (pre-norm).

    Args:
        width: of the vectors.
        heads: of the attention.
        dropout: share of values dropped, in training.
        causal: a step sees only itself and those before it; then there is no mask: what is absent stands at the end.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.mixed = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.network = mlp(width, [4 * width], width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """Steps h (N, T, W) and their mask (N, T), True where there is a step, if any is absent -> (N, T, W)."""
        q, k, v = self.mixed(self.norms[0](h)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if mask is not None:
            # A row of no step at all would attend to nothing, and give NaN: let each step see itself.
            mask = mask[:, None, None, :] | torch.eye(h.shape[1], dtype=torch.bool, device=h.device)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal)
        h = h + self.dropout(self.out(mixed.transpose(1, 2).flatten(2)))
        return cast(Tensor, h + self.dropout(self.network(self.norms[1](h))))


class Transformer(Encoder):
    """A Transformer (Vaswani et al. 2017) over the sub-words of a text; its vector is the mean over them.

    Args:
        reader: a `Tokens` reader.
        width: of the vectors.
        layers: how many.
        heads: of the attention.
        dropout: share of values dropped, in training.
    """

    reader: Tokens

    def __init__(self, reader: Tokens, width: int = 128, layers: int = 2, heads: int = 4, dropout: float = 0.1) -> None:
        super().__init__(reader, width)
        self.layers, self.heads, self.dropout = layers, heads, dropout

    def build(self, dim: int) -> None:
        """Make the network."""
        self.table = nn.Embedding(self.reader.size + 2, self.width)  # unknown, and the empty place after it
        self.places = nn.Parameter(torch.zeros(self.reader.length, self.width))
        for weight in (self.table.weight, self.places):
            nn.init.normal_(weight, std=0.02)
        self.blocks = nn.ModuleList(Block(self.width, self.heads, self.dropout) for _ in range(self.layers))
        self.norm = nn.LayerNorm(self.width)

    def length(self, x: Ragged) -> Tensor:
        """(P,) the steps each piece is computed with: the power of two that holds its sub-words."""
        assert x.inner is not None
        sizes = x.inner.diff().clamp(1, self.reader.length)
        powers = 2 ** torch.ceil(torch.log2(sizes.double())).long()
        return powers.clamp(max=self.reader.length)

    def pieces(self, x: Ragged) -> Tensor:
        """A vector a piece: (P, width)."""
        empty = self.reader.size + 1
        steps = int(self.length(x).max()) if len(x.rows) else 1
        ids = x.things(steps, empty)  # (P, T)
        mask = ids != empty
        h = self.table(ids) + self.places[:steps]  # (P, T, W)
        for block in self.blocks:
            h = block(h, mask)
        kept = mask.unsqueeze(-1).to(h.dtype)
        return cast(Tensor, (self.norm(h) * kept).sum(1) / kept.sum(1).clamp(min=1))
