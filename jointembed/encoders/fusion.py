"""One vector from the vectors of several columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from .encoder import make_mlp

# B rows, C columns, D dimension


class Fusion(nn.Module):
    """One vector from the vectors of several columns; any of them may be absent.

    The vectors are concatenated, a learned vector in the place of each absent one, and go through a small network whose
    output is added to the mean of the present vectors.

    Args:
        dim: D, of the space.
        hidden: layers of the network.
        dropout: for each column the share of rows in which it is left out, in training.
    """

    def __init__(self, dim: int, hidden: list[int], dropout: Sequence[float]) -> None:
        super().__init__()
        self.absent = nn.Parameter(torch.zeros(len(dropout), dim))
        self.network = make_mlp(dim * len(dropout), hidden, dim)
        nn.init.zeros_(cast(nn.Linear, self.network[-1]).weight)
        self.dropout = list(dropout)

    def forward(self, z: Tensor, present: Tensor) -> Tensor:
        """Vectors z (B, C, D), those of `present` (B, C) only -> (B, D)."""
        if self.training and any(self.dropout):
            keep = present & (torch.rand(present.shape, device=z.device) >= torch.tensor(self.dropout, device=z.device))
            present = torch.where(keep.any(1, keepdim=True), keep, present)  # a row never loses its last part
        filled = torch.where(present[..., None], z, self.absent.to(z.dtype))
        share = present[..., None].to(z.dtype)
        mean = (z * share).sum(1) / share.sum(1).clamp(min=1)
        return mean + cast(Tensor, self.network(filled.flatten(1)))
