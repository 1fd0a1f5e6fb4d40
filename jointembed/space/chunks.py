"""Computing in parts, again in the backward pass, so that what is in between is never held for a whole batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# N entries, such as the rows of a batch

Result = TypeVar("Result", Tensor, tuple[Tensor, ...])


def compute_in_chunks(
    function: Callable[..., Result], count: int, chunks: int, device: torch.device, *inputs: Tensor
) -> Result:
    """`function(numbers, *inputs)` for N numbers, some of them at a time, and its results, one after the other.

    With several chunks, each is computed again in the backward pass, with the same random numbers and in the same
    precision as before: gradient checkpointing (Chen et al. 2016), which makes a step the one of GradCache (Gao et al.
    2021).

    Args:
        function: numbers (n,) int64, and the inputs of these -> tensors (n, ...).
        count: N.
        chunks: how many.
        device: of the numbers, on which random numbers are drawn.
        inputs: (N, ...) each. Were they indexed in the function, each chunk would give a gradient of their whole size.
    """
    numbers = torch.arange(count, device=device)
    if chunks < 2 or not count:
        return function(numbers, *inputs)
    size = -(-count // chunks)
    sections = list(zip(*(torch.split(entries, size) for entries in (numbers, *inputs)), strict=True))
    if torch.is_grad_enabled():
        # The numbers tell it the device whose random numbers must be the same again.
        parts = [checkpoint(function, *section, use_reentrant=False) for section in sections]
    else:
        parts = [function(*section) for section in sections]
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    return tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))
