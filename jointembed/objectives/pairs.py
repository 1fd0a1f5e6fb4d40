"""Which queries and targets of a batch, of all processes, belong together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..ragged import Ragged, ranges, repeat_index
from ..space.encoded import Encoded, Mix
from . import distributed

# B queries, P targets, D dimension of the space


@dataclass
class Pairs:
    """The B queries and P targets of all processes, and which belong together.

    Args:
        queries: (B, D).
        queries_present: (B,).
        query_keys: (B,) equal queries have equal keys.
        query_mix: how the queries are mixed, if they are.
        labels: (B,) equal keys make further pairs, if given.
        targets: (P, D).
        targets_present: (P,).
        target_keys: (P,) equal targets have equal keys.
        target_mix: how the targets are mixed, if they are.
        target_rows: (P,) the query whose own target each is; non-decreasing.
        single_targets: each query has one target, in the same place.
        own_queries: first and last of those of this process, as a slice.
        own_targets: first and last of those of this process, as a slice.
    """

    queries: Tensor
    queries_present: Tensor
    query_keys: Tensor
    query_mix: Mix | None
    labels: Tensor | None
    targets: Tensor
    targets_present: Tensor
    target_keys: Tensor
    target_mix: Mix | None
    target_rows: Tensor
    single_targets: bool
    own_queries: slice
    own_targets: slice

    def every(self) -> tuple[Tensor, Tensor]:
        """The numbers of all queries, and of all targets."""
        device = self.queries.device
        return torch.arange(len(self.queries), device=device), torch.arange(len(self.targets), device=device)

    def own(self) -> tuple[Tensor, Tensor]:
        """The numbers of the queries of this process, and of its targets."""
        queries, targets = self.every()
        return queries[self.own_queries], targets[self.own_targets]

    def positives(self, queries: Tensor, targets: Tensor) -> Tensor:
        """Which of some queries (N,) and targets (M,) belong together: (N, M), 1, 0, or in between under mixup."""

        def match(columns: Tensor) -> Tensor:
            return select_mixed(lambda rows: self._match(rows, columns).to(self.targets.dtype), queries, self.query_mix)

        return select_mixed(lambda columns: match(columns).T, targets, self.target_mix).T

    def _match(self, queries: Tensor, targets: Tensor) -> Tensor:
        rows = self.target_rows[targets]
        match = self.query_keys[queries][:, None] == self.query_keys[rows]
        if self.single_targets:
            match |= self.target_keys[queries][:, None] == self.target_keys[targets]
        else:  # a target equal to any of a row's own targets is that row's too
            starts = find_starts(self.target_rows, len(self.queries))
            counts = starts[queries + 1] - starts[queries]
            equal = self.target_keys[ranges(starts[queries], counts)][:, None] == self.target_keys[targets]
            common = equal.new_zeros(match.shape, dtype=torch.int32)
            match |= common.index_add_(0, repeat_index(counts), equal.int()) > 0
        if self.labels is not None:
            match |= self.labels[queries][:, None] == self.labels[rows]
        return match & self.queries_present[queries][:, None] & self.targets_present[targets]


def select_mixed(targets: Callable[[Tensor], Tensor], rows: Tensor, mix: Mix | None) -> Tensor:
    """The targets (N, ...) of some rows (N,), mixed if the rows are."""
    if mix is None:
        return targets(rows)
    whole = targets(rows)
    share = mix.share[rows].to(whole.dtype).reshape(-1, *[1] * (whole.dim() - 1))
    return share * whole + (1 - share) * targets(mix.partner[rows])


def find_starts(rows: Tensor, count: int) -> Tensor:
    """(B + 1,) the first entry of each of B rows, where `rows` (N,) are non-decreasing, and N at the end."""
    return torch.searchsorted(rows, torch.arange(count + 1, device=rows.device))


def target_pieces(target: Encoded, x: Ragged | None) -> tuple[Tensor, Tensor, Tensor]:
    """The targets of this process, whether each is present, and the row of each; see `pair_with_targets`."""
    if target.pieces is None:
        rows = torch.arange(len(target.z), device=target.z.device)
        return target.z, target.present, rows
    assert x is not None
    return target.pieces, torch.ones_like(x.rows).bool(), x.rows


def pair_with_targets(query: Encoded, target: Encoded, x: Ragged | None, labels: Tensor | None) -> Pairs:
    """Pair the queries and targets of all processes; see `Candidates.forward_in_batch` for the arguments.

    Row i and row j match too if their targets or their queries are equal, or their labels.
    """
    t, t_present, t_rows = target_pieces(target, x)
    t_keys = target.row_keys
    if target.pieces is not None:
        assert x is not None and x.piece_keys is not None
        t_keys = x.piece_keys
    all_q, first = distributed.gather(query.z)
    all_t, t_first = distributed.gather(t)
    q_present, q_keys, all_t_present, all_t_keys, all_t_rows = (
        distributed.gather(part)[0] for part in (query.present, query.row_keys, t_present, t_keys, t_rows + first)
    )
    q_mix, t_mix = (_gather_mix(encoded.mix, first) for encoded in (query, target))
    return Pairs(
        all_q, q_present, q_keys, q_mix, None if labels is None else distributed.gather(labels)[0],
        all_t, all_t_present, all_t_keys, t_mix, all_t_rows, target.pieces is None,
        slice(first, first + len(query.z)), slice(t_first, t_first + len(t)),
    )  # fmt: skip


def _gather_mix(mix: Mix | None, first: int) -> Mix | None:
    """How the rows of all processes are mixed."""
    return mix and Mix(distributed.gather(mix.partner + first)[0], distributed.gather(mix.share)[0])
