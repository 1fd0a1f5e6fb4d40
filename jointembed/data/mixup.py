"""Mixing the rows of a batch two by two, and their targets with them (mixup, Zhang et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..ragged import Ragged

# B rows, P pieces


@dataclass
class Mix:
    """Row i is `share[i]` (B,) of itself and the rest of row `partner[i]` (B,)."""

    partner: Tensor
    share: Tensor

    def __call__(self, targets: Tensor) -> Tensor:
        """Targets (B, ...) mixed as their rows are."""
        share = self.share.to(targets.dtype).reshape(-1, *[1] * (targets.dim() - 1))
        return share * targets + (1 - share) * targets[self.partner]


def mixed(x: Ragged, alpha: float) -> tuple[Ragged, Mix | None]:
    """A column whose rows are mixed two by two, by shares drawn from Beta(alpha, alpha); the larger share is its own.

    Only a column of plain arrays with one piece a row can be mixed; any other is given back as it is.
    """
    if x.offsets is not None or not x.values.is_floating_point():
        return x, None
    partner = torch.arange(len(x), device=x.rows.device)
    shares = torch.ones(len(x), dtype=x.values.dtype, device=x.rows.device)
    # Every process must answer alike, also one whose rows cannot be mixed: then each row stays itself.
    if not len(x.rows) or int(x.counts.max()) > 1:
        return x, Mix(partner, shares)
    order = torch.randperm(len(x.rows), device=x.rows.device)
    # torch's generator is the seeded one of the run; NumPy's is not saved in checkpoints.
    concentration = torch.full((len(order),), alpha, dtype=torch.float64)
    draws = torch.distributions.Beta(concentration, concentration).sample()
    share = torch.maximum(draws, 1 - draws).to(x.values)
    weights = share.reshape(-1, *[1] * (x.values.dim() - 1))
    partner[x.rows] = x.rows[order]
    shares[x.rows] = share
    return replace(x, values=weights * x.values + (1 - weights) * x.values[order]), Mix(partner, shares)
