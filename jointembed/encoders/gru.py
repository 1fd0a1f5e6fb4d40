"""A recurrent network over a list in its order."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ..arguments import Count, Dropout
from ..ragged import Ragged
from .sequence_encoder import SequenceEncoder

# P pieces, D dimension of the space


class GRU(SequenceEncoder):
    """A gated recurrent unit over the last pieces of a row (GRU, Cho et al. 2014; as in GRU4Rec, Hidasi et al. 2016).

    Args:
        length: pieces that are read.
        layers: number of layers.
        dropout: share of values dropped before the first layer and after each, in training.
        mean: the vector of a row is the mean of its states, and not the last one.
    """

    def __init__(self, length: Count = 200, layers: Count = 1, dropout: Dropout = 0.2, mean: bool = False) -> None:
        super().__init__(length)
        self.layers, self.mean = layers, mean
        self.dropout = nn.Dropout(dropout)

    def build(self, dim: int) -> None:
        """Make the network, for vectors of `dim` numbers."""
        self.network = nn.GRU(dim, dim, self.layers, batch_first=True, dropout=self.dropout.p * (self.layers > 1))

    def read(self, h: Tensor) -> Tensor:
        """Vectors (B, T, D) -> (B, D); see `SequenceEncoder.read`."""
        h = h[:, -self.length :]
        out = self._read_in_onnx(h) if torch.onnx.is_in_onnx_export() else self.network(h)[0]
        return cast(Tensor, out.mean(1) if self.mean else out[:, -1])

    def _read_in_onnx(self, h: Tensor) -> Tensor:
        """The states (B, T, D) by the operator of ONNX, since torch exports a GRU for one number of steps only."""
        network, h = self.network, h.transpose(0, 1)
        for layer in range(self.layers):
            names = [f"{kind}_l{layer}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            gates = [getattr(network, name).chunk(3) for name in names]
            w, r, *biases = (torch.cat([update, reset, new]) for reset, update, new in gates)
            out = torch.onnx.ops.symbolic(
                "GRU", (h, w[None], r[None], torch.cat(biases)[None]),
                {"hidden_size": network.hidden_size, "linear_before_reset": 1},
                dtype=h.dtype, shape=(h.shape[0], 1, h.shape[1], network.hidden_size), version=20,
            )  # fmt: skip
            h = out[:, 0]
        return h.transpose(0, 1)

    def states(self, h: Tensor, x: Ragged) -> Tensor:
        """Vectors of the pieces that are read h (P, D) -> the state at each of them (P, D)."""
        padded, step = self.pad(h, x)
        # In bfloat16 the memory would lose a little at each of many steps.
        with torch.autocast(h.device.type, enabled=False):
            out, _ = self.network(self.dropout(padded))
            return cast(Tensor, self.dropout(out[x.rows, step]))

    def last(self, states: Tensor, x: Ragged) -> Tensor:
        """States (P, D) -> the vector of each row (B, D), and 0 for a row without pieces."""
        return x.mean(states) if self.mean else super().last(states, x)
