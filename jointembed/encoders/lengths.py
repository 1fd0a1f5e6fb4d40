"""Texts and lists of like length in one rectangle of steps, so that little of it is padding."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..ragged import Ragged

# P pieces, N entries, such as the pieces or the rows of a batch

STEPS_IN_GROUP = 256  # at least: with fewer, the overhead of an operation is more than the padding that it saves


def round_up(sizes: Tensor, most: int) -> Tensor:
    """Sizes (N,) rounded up by an eighth at most, or to a multiple of 4, and cut at `most`: few distinct lengths."""
    sizes = sizes.clamp(1, most)
    step = (2 ** torch.floor(torch.log2(sizes.double()) - 3).long()).clamp(min=4)
    return ((sizes + step - 1) // step * step).clamp(max=most)


def group_by_length(lengths: Tensor) -> list[Tensor]:
    """The numbers of entries with the given lengths (N,), those of like length together, the longest first.

    On other devices than a CPU they are one group: there many small steps cost more than the padding.
    """
    distinct, counts = torch.unique(lengths, return_counts=True)
    if not lengths.is_cpu or len(distinct) < 2:
        return [torch.arange(len(lengths), device=lengths.device)]
    sizes, steps = [0], 0
    for length, count in zip(distinct.tolist()[::-1], counts.tolist()[::-1], strict=True):
        if steps >= STEPS_IN_GROUP:
            sizes.append(0)
            steps = 0
        sizes[-1] += count
        steps += count * length
    return list(torch.split(torch.argsort(lengths, descending=True, stable=True), sizes))


def compute_by_length(function: Callable[[Ragged], Tensor], x: Ragged, lengths: Tensor) -> Tensor:
    """`function(x)` (P, W), computed for the pieces of like length (P,) apart."""
    groups = group_by_length(lengths)
    if len(groups) < 2:
        return function(x)
    return torch.cat([function(x.take(pieces)) for pieces in groups])[torch.argsort(torch.cat(groups))]
