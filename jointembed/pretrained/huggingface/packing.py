"""Texts side by side in one row of steps, each attending to itself only: no step is computed that is only padding.

sentence-transformers and others do so on GPUs (Krell et al. 2021, "Efficient sequence packing without
cross-contamination"). Here all rows have one length, so that the bits of a vector do not depend on its neighbours.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

# N texts, T steps of each, S steps of a row, H heads, W width of a head

ATTENTION = "packed_sdpa"  # under which transformers finds the attention below


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    packed: list[tuple[int, int]] | None = None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The attention of transformers, between the steps of a text only if `packed` is given.

    Args:
        module: the layer.
        query: (1, H, S, W).
        key: as `query`.
        value: as `query`.
        attention_mask: of texts that are not packed.
        packed: the lengths of the texts in the row, each with the number of texts that have it one after the other.
        scaling: of the products.
        kwargs: of the attention of transformers.

    Returns:
        (1, S, H, W), with 0 after the last text, and no weights.
    """
    if packed is None:
        output = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
        return cast(tuple[Tensor, None], output)
    out = torch.zeros_like(query.transpose(1, 2))
    start = 0
    for length, count in packed:
        stop = start + length * count
        q, k, v = (
            x[0, :, start:stop].reshape(-1, count, length, x.shape[-1]).transpose(0, 1) for x in (query, key, value)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, scale=scaling)  # (N, H, T, W)
        out[0, start:stop] = mixed.transpose(1, 2).flatten(0, 1)
        start = stop
    return out, None


AttentionInterface.register(ATTENTION, attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def pack(sizes: Tensor, capacity: int) -> list[Tensor]:
    """Distribute texts over rows of a fixed number of steps.

    Args:
        sizes: (P,) steps of each text.
        capacity: steps of a row.

    Returns:
        The numbers of the texts of each row, from the shortest to the longest; a longer text than a row is alone.
    """
    lengths = sizes.tolist()
    left, rows = torch.argsort(sizes, stable=True).tolist(), []
    low, high = 0, len(left) - 1
    while low <= high:
        room, shortest, longest = capacity - lengths[left[high]], low, high
        high -= 1
        while low <= high and lengths[left[high]] <= room:
            room -= lengths[left[high]]
            high -= 1
        while low <= high and lengths[left[low]] <= room:
            room -= lengths[left[low]]
            low += 1
        rows.append(torch.tensor(left[shortest:low] + left[high + 1 : longest + 1]))
    return rows
