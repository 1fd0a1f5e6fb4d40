"""One column of a batch: the pieces that belong to its rows, and the items inside the pieces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

# B rows, P pieces, V items inside pieces, T steps, W width


# On a CPU the gathers below go through NumPy: torch starts its threads for each of these small steps, which takes
# thirty times as long as the step on a machine that is busy, and three times as long on an idle one.


def ranges(starts: Tensor, counts: Tensor) -> Tensor:
    """The positions of many runs, one after the other: starts (N,), counts (N,) -> (counts.sum(),)."""
    if starts.is_cpu:
        first, sizes = starts.numpy(), counts.numpy()
        stops = np.cumsum(sizes)
        places = np.arange(int(stops[-1]) if len(stops) else 0)
        return torch.from_numpy(places + np.repeat(first - stops + sizes, sizes))
    ends = counts.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    shift = (starts - ends + counts).repeat_interleave(counts, output_size=total)
    return torch.arange(total, device=starts.device) + shift


def take(x: Tensor, index: Tensor) -> Tensor:
    """The entries of x (N, ...) at index (M,)."""
    return torch.from_numpy(x.numpy()[index.numpy()]) if x.is_cpu else x[index]


def repeat_index(counts: Tensor) -> Tensor:
    """Each position of counts (N,) as often as it says: (counts.sum(),)."""
    if counts.is_cpu:
        return torch.from_numpy(np.repeat(np.arange(len(counts)), counts.numpy()))
    return torch.arange(len(counts), device=counts.device).repeat_interleave(counts)


@dataclass
class Ragged:
    """P pieces that belong to B rows, in the order of the cells; a missing cell has no piece.

    Args:
        values: (P, ...), or (V, ...) with `offsets`.
        rows: (P,) int64, which row each piece came from; non-decreasing.
        row_keys: (B,) int64, equal cells have equal keys; a missing cell's is unique.
        offsets: (P + 1,) offsets of the items inside each piece.
        weights: (V,) grey level or term count of each thing.
        piece_keys: (P,) int64 keys of the pieces where each is an item of its own (a caption, a tag, a film);
            None where they are parts of one item (the windows of a song).
        is_encoded: `values` are the vectors (P, W) that a frozen encoder gave the pieces, and not its input.

    >>> films = Ragged(torch.tensor([4, 7, 7]), torch.tensor([0, 0, 2]), torch.tensor([11, -1, 12]))
    >>> len(films), films.present.tolist(), films[torch.tensor([2, 0])].values.tolist()
    (3, [True, False, True], [7, 4, 7])
    """

    values: Tensor
    rows: Tensor
    row_keys: Tensor
    offsets: Tensor | None = None
    weights: Tensor | None = None
    piece_keys: Tensor | None = None
    is_encoded: bool = False

    def __len__(self) -> int:
        return len(self.row_keys)

    @cached_property
    def starts(self) -> Tensor:
        """(B + 1,) the first piece of each row, and the number of pieces at the end."""
        return torch.searchsorted(self.rows, torch.arange(len(self) + 1, device=self.rows.device))

    @cached_property
    def counts(self) -> Tensor:
        """(B,) how many pieces each row has."""
        return self.starts.diff()

    @property
    def present(self) -> Tensor:
        """(B,) whether the row has any piece."""
        return self.counts > 0

    def __getitem__(self, index: Tensor) -> Ragged:
        """The rows of `index` (N,), in that order."""
        counts = take(self.counts, index)
        pieces = ranges(take(self.starts, index), counts)
        piece_keys = None if self.piece_keys is None else take(self.piece_keys, pieces)
        values, offsets, weights = self._take_items(pieces)
        keys = take(self.row_keys, index)
        return Ragged(values, repeat_index(counts), keys, offsets, weights, piece_keys, self.is_encoded)

    def _take_items(self, pieces: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        if self.offsets is None:
            return take(self.values, pieces), None, None
        first = take(self.offsets, pieces)
        sizes = take(self.offsets, pieces + 1) - first
        items = ranges(first, sizes)
        offsets = F.pad(sizes.cumsum(0), (1, 0))
        return take(self.values, items), offsets, None if self.weights is None else take(self.weights, items)

    def take(self, pieces: Tensor) -> Ragged:
        """The chosen `pieces` (N,), each as a row of its own."""
        values, offsets, weights = self._take_items(pieces)
        order = torch.arange(len(pieces), device=self.rows.device)
        keys = self.row_keys[self.rows[pieces]] if self.piece_keys is None else self.piece_keys[pieces]
        return Ragged(values, order, keys, offsets, weights, is_encoded=self.is_encoded)

    def _map(self, change: Any) -> Ragged:
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {
            name: change(part) if isinstance(part, Tensor) else part for name, part in parts.items()
        }
        return Ragged(**moved)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Ragged:
        """The same on another device."""
        return self._map(lambda part: part.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Ragged:
        """The same in page-locked memory, for faster copies to a GPU."""
        return self._map(Tensor.pin_memory)

    def mean(self, h: Tensor) -> Tensor:
        """Pool piece vectors h (P, W) into one a row, (B, W): their mean, and 0 for a row without pieces."""
        total = h.new_zeros(len(self), *h.shape[1:]).index_add_(0, self.rows, h)
        return total / self.counts.clamp(min=1).to(h.dtype).reshape(-1, *[1] * (h.dim() - 1))

    def pad(self, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The pieces as a rectangle (B, T, ...), and its mask (B, T); of `h` (P, ...) if given."""
        h = self.values if h is None else h
        counts = self.counts
        longest = int(counts.max()) if len(counts) else 0
        steps = torch.arange(len(h), device=h.device) - self.starts[:-1][self.rows]
        out = h.new_zeros(len(self), longest, *h.shape[1:])
        out[self.rows, steps] = h
        return out, torch.arange(longest, device=h.device) < counts[:, None]

    def pad_tokens(self, length: int, fill: int) -> Tensor:
        """The items inside each piece as a rectangle (P, length) of int64, cut, or padded with `fill`."""
        assert self.offsets is not None
        sizes = self.offsets.diff().clamp(max=length)
        source = ranges(self.offsets[:-1], sizes)
        place = ranges(torch.arange(len(sizes), device=sizes.device) * length, sizes)
        out = torch.full((len(sizes) * length,), fill, dtype=torch.int64, device=self.values.device)
        out[place] = self.values[source].long()
        return out.reshape(-1, length)

    def dense(self, shape: Sequence[int]) -> Tensor:
        """The pieces as full arrays (P, *shape): the weights at their positions, 0 elsewhere."""
        if self.offsets is None:
            return self.values.reshape(-1, *shape)
        size, pieces = math.prod(shape), len(self.offsets) - 1
        places = repeat_index(self.offsets.diff()) * size + self.values
        weights = torch.ones_like(self.values, dtype=torch.float32) if self.weights is None else self.weights
        flat = weights.new_zeros(pieces * size)
        if flat.is_cpu:
            flat.numpy()[places.numpy()] = weights.numpy()
        else:
            flat[places] = weights
        return flat.reshape(pieces, *shape)

    @classmethod
    def keys_only(cls, keys: Tensor) -> Ragged:
        """A column with keys only, which tell whether two rows have equal cells."""
        return cls(keys.new_zeros(0), keys.new_zeros(0), keys)
