"""A weighted mean over the pieces of a row, with learned weights."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ..arguments import Count, Dropout
from ..ragged import Ragged
from .encoder import to_float32
from .sequence_encoder import SequenceEncoder

# P pieces, D dimension of the space


class AttentionPooling(SequenceEncoder):
    """Weighs the pieces of a row by what they hold, whatever their order (attention pooling, Ilse et al. 2018).

    The weights are the softmax of w . (tanh(V h) * sigmoid(U h)) over the pieces h of a row. It can tell the windows of
    a song that matter from applause, speech or silence, where a mean counts all alike. Train it with a reader that
    gives a row several pieces, such as `LogMel(train_windows=4)`.

    Args:
        hidden: width of the network that weighs a piece.
        dropout: share of its values dropped, in training.
        length: pieces that are read, the last ones.
    """

    def __init__(self, hidden: Count = 64, dropout: Dropout = 0.0, length: Count = 200) -> None:
        super().__init__(length)
        self.hidden, self.dropout = hidden, nn.Dropout(dropout)

    def build(self, dim: int) -> None:
        """Make the network, for vectors of `dim` numbers."""
        self.value, self.gate = nn.Linear(dim, self.hidden), nn.Linear(dim, self.hidden)
        self.weight = nn.Linear(self.hidden, 1, bias=False)
        nn.init.zeros_(self.weight.weight)  # all pieces count alike at first

    def read(self, h: Tensor) -> Tensor:
        """Vectors (B, T, D) -> (B, D); see `SequenceEncoder.read`."""
        h = h[:, -self.length :]
        weights = self._score(h).softmax(1)
        return (weights * h).sum(1)

    def _score(self, h: Tensor) -> Tensor:
        return cast(Tensor, self.weight(self.dropout(torch.tanh(self.value(h)) * torch.sigmoid(self.gate(h)))))

    def states(self, h: Tensor, x: Ragged) -> Tensor:
        """Vectors of the pieces that are read h (P, D) -> the mean of each and those before it (P, D)."""
        with torch.autocast(h.device.type, enabled=False):
            h = to_float32(h)
            padded, step = self.pad(torch.cat([h, self._score(h)], 1), x)
            vectors, scores = padded[:, :, :-1], padded[:, :, -1:]
            # Only the quotient counts: the subtracted maximum keeps the exponentials finite.
            weights = torch.exp(scores - scores.detach().amax(1, keepdim=True))
            mean = (weights * vectors).cumsum(1) / weights.cumsum(1)
            return mean[x.rows, step]
