"""mixup (Zhang et al. 2018): train on pairs of rows, mixed together with their targets."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..errors import UsageError
from ..ragged import Ragged
from ..space.encoded import Mix

# B rows, P pieces


def mix_rows(x: Ragged, alpha: float, column: str) -> tuple[Ragged, Mix]:
    """Mix the rows of a column in pairs, with weights from Beta(alpha, alpha); each row keeps the larger weight.

    Rows with no piece or with several stay as they are.

    Args:
        x: B rows of plain arrays.
        alpha: of the Beta distribution.
        column: its name, for the message.

    Raises:
        UsageError: the column holds words or ids, which cannot be mixed.
    """
    if x.offsets is not None or not x.values.is_floating_point():
        raise UsageError(
            f"mixup.{column}",
            "only sounds, images and numbers can be mixed, and its cells are ids, words or sparse pixels",
            f"leave {column} out of `mixup`",
        )
    partner = torch.arange(len(x), device=x.rows.device)
    share = torch.ones(len(x), dtype=x.values.dtype, device=x.rows.device)
    single = (x.counts[x.rows] == 1).nonzero()[:, 0]  # pieces that are the only one of their row
    if not len(single):
        return x, Mix(partner, share)
    partners = single[torch.randperm(len(single), device=x.rows.device)]
    # torch's generator is the seeded one of the run; NumPy's is not saved in checkpoints.
    concentration = torch.full((len(single),), alpha, dtype=torch.float64)
    draws = torch.distributions.Beta(concentration, concentration).sample()
    shares = torch.maximum(draws, 1 - draws).to(x.values)
    weights = shares.reshape(-1, *[1] * (x.values.dim() - 1))
    partner[x.rows[single]] = x.rows[partners]
    share[x.rows[single]] = shares
    values = x.values.clone()
    values[single] = weights * x.values[single] + (1 - weights) * x.values[partners]
    return replace(x, values=values), Mix(partner, share)
