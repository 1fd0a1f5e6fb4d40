"""Codes: the vectors of one column of a batch; and one code made of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from ..data.mixup import Mix
from ..ragged import Ragged
from .encoder import make_mlp

# B rows, P pieces, D dimension


@dataclass
class Encoded:
    """The vectors of one column of a batch.

    z (B, D), present (B,), pieces (P, D) where each is a target itself, how its rows were mixed, if they were, and
    where a pool read them in their order, the states (P', D) at the pieces that it read, with these.
    """

    z: Tensor
    present: Tensor
    pieces: Tensor | None = None
    mix: Mix | None = None
    history: tuple[Tensor, Ragged] | None = None


class Fusion(nn.Module):
    """One vector from the vectors of several columns, of which any may be absent.

    They are put side by side, a learned vector in the place of an absent one, and go through a small network; its
    answer is added to the mean of those that are present.

    Args:
        dim: D, of the space.
        parts: the columns.
        hidden: layers of the network.
        drop: the share of rows in which a column is left out, in training.
    """

    def __init__(self, dim: int, parts: Sequence[str], hidden: list[int], drop: dict[str, float]) -> None:
        super().__init__()
        self.absent = nn.Parameter(torch.zeros(len(parts), dim))
        self.network = make_mlp(dim * len(parts), hidden, dim)
        nn.init.zeros_(cast(nn.Linear, self.network[-1]).weight)
        self.drop = [drop.get(part, 0.0) for part in parts]

    def forward(self, codes: Sequence[Encoded]) -> Encoded:
        """Codes of the parts -> the code of the whole."""
        z = torch.stack([code.z for code in codes], 1)  # (B, parts, D)
        there = torch.stack([code.present for code in codes], 1)  # (B, parts)
        if self.training and any(self.drop):
            kept = there & (torch.rand(there.shape, device=z.device) >= torch.tensor(self.drop, device=z.device))
            there = torch.where(kept.any(1, keepdim=True), kept, there)  # a row never loses its last part
        filled = torch.where(there[..., None], z, self.absent.to(z.dtype))
        share = there[..., None].to(z.dtype)
        mean = (z * share).sum(1) / share.sum(1).clamp(min=1)
        return Encoded(mean + self.network(filled.flatten(1)), there.any(1))
