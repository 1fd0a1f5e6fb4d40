"""What many processes must share for a loss to be the one of a single big batch."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather(x: Tensor) -> tuple[Tensor, int]:
    """Every process's `x` (N_r, ...), joined in the order of ranks, and where the part of this process begins.

    Gradients flow back to the process that each part came from. It must be called by every process, also with N_r = 0.
    """
    if world() == 1:
        return x, 0
    sizes = [torch.zeros(1, dtype=torch.int64, device=x.device) for _ in range(world())]
    dist.all_gather(sizes, torch.tensor([len(x)], device=x.device))
    counts = [int(size) for size in sizes]
    # Equal shapes are all that every backend gathers, so each part is filled up to the longest.
    filled = torch.cat([x, x.new_zeros(max(counts) - len(x), *x.shape[1:])])
    parts = _Gather.apply(filled.contiguous())
    whole = torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])
    return whole, sum(counts[: rank()])


class _Gather(torch.autograd.Function):
    """`x` of every process, all of one shape; the gradient of each is the sum over all processes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, ...]:
        parts = [torch.empty_like(x) for _ in range(world())]
        dist.all_gather(parts, x)
        return tuple(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = torch.stack(gradients)
        dist.all_reduce(total)
        return total[rank()]


def weights(counted: Tensor) -> Tensor:
    """What each row must count (N,) for a sum over them to be the mean over the rows of all processes.

    Averaging the gradients of all processes, as DDP does, gives the gradient of this mean: hence the factor.
    """
    total = counted.sum().detach().clone()
    if world() > 1:
        dist.all_reduce(total)
    return counted * world() / total.clamp(min=torch.finfo(counted.dtype).tiny)


def mean(values: Tensor, counted: Tensor) -> Tensor:
    """The weighted mean of `values` (N,) over the rows of all processes; 0, but connected, where none counts."""
    return (values * weights(counted.to(values.dtype))).sum()


def average(x: Tensor) -> Tensor:
    """The mean of every process's `x` (...), all of one shape, without a gradient."""
    x = x.detach().clone()
    if world() > 1:
        dist.all_reduce(x)
    return x / world()


def total(count: int, device: torch.device) -> int:
    """The sum of every process's `count`, computed on a device."""
    if world() == 1:
        return count
    counts = torch.tensor(count, device=device)
    dist.all_reduce(counts)
    return int(counts)


def share(x: Tensor) -> Tensor:
    """The `x` (...) of the first process, in the place of every other's."""
    if world() > 1:
        x = x.clone()
        dist.broadcast(x, 0)
    return x


def shared_seed(device: torch.device) -> int:
    """A random seed, the same in all processes; sent on a device."""
    seed = torch.randint(2**62, (1,))
    return int(share(seed.to(device)) if world() > 1 else seed)


def rank() -> int:
    """The number of this process among those that train together."""
    return dist.get_rank() if world() > 1 else 0
