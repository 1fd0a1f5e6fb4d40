"""Batches of one shape for networks whose bits depend on the shape of a batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# P pieces, W width

IMAGES_IN_BATCH = {"cpu": 4, "cuda": 32}


def embed_in_batches(pieces: Tensor, size: int, embed: Callable[[Tensor], Tensor]) -> Tensor:
    """The vectors (P, W) of pieces (P, ...), computed in batches of exactly `size`.

    An incomplete batch is padded with copies of its last piece: in one shape, the bits of a vector do not depend on its
    neighbours. Pieces that are equal to the one before them, such as those that pad a batch of `Space.embed`, are not
    computed again. Training does not need equal bits, so its last batch is not padded.

    Args:
        pieces: at least one.
        size: the number of pieces in a batch.
        embed: (size, ...) -> (size, W).
    """
    is_new = [number == 0 or not torch.equal(pieces[number], pieces[number - 1]) for number in range(len(pieces))]
    sources = torch.tensor(is_new).cumsum(0) - 1
    vectors = []
    for batch in torch.split(pieces[torch.tensor(is_new)], size):
        padding = 0 if torch.is_grad_enabled() else size - len(batch)
        vectors.append(embed(torch.cat([batch, batch[-1:].expand(padding, *batch.shape[1:])]))[: len(batch)])
    return torch.cat(vectors)[sources.to(pieces.device)]
