"""Candidate sets that a query is scored against: a whole vocabulary, or ids sampled from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from ..arguments import Count, Share
from ..config import Configurable
from ..errors import UsageError
from ..ragged import Ragged, ranges, repeat_index
from ..readers import Reader
from ..space.chunks import compute_in_chunks
from ..space.encoded import Encoded, Mix
from ..space.space import Space
from . import distributed
from .losses import Loss, Sample
from .pairs import find_starts, select_mixed

# B queries, P targets, C candidates, K ids of a vocabulary, D dimension of the space

MAX_SCORED_IDS = 20_000  # ids of a vocabulary whose scores are all held at once


@dataclass
class Queries:
    """Queries z (B, D), those that count (B,), and how mixup combined them."""

    z: Tensor
    present: Tensor
    mix: Mix | None = None
    chunks: int = 1  # parts in which they are scored, and again in the backward pass


@dataclass
class Targets:
    """Targets of queries: P ids of the vocabulary of a column, each with the row (P,) of its query.

    Args:
        column: of the space.
        ids: (P,); the size of the vocabulary stands for unknown ids.
        rows: (P,) non-decreasing.
        single: no query has several.
    """

    column: str
    ids: Tensor
    rows: Tensor
    single: bool


class Candidates(Configurable, nn.Module):
    """A candidate set that a query is scored against."""

    from_batch: bool = False  # the candidates are the targets of the batch, so these must be encoded
    late_interaction: bool = False  # the pieces of a query are scored one by one
    supports_mixup: bool = True
    supports_head: bool = False  # a head may give the scores of all of them

    def build(self, reader: Reader, loss: Loss, name: str) -> None:
        """Read sizes and frequencies from the fitted reader of the target.

        Args:
            reader: the reader of the target.
            loss: the loss over the candidates' scores.
            name: the objective's name, for messages.
        """

    def build_in_batch(self, space: Space, loss: Loss, name: str) -> None:
        """Make what candidates of the batch need, in the place of `build`.

        Args:
            space: whose vectors are compared.
            loss: the loss over the candidates' scores.
            name: the objective's name, for messages.
        """

    def forward(self, loss: Loss, query: Queries, targets: Targets, space: Space, dim: int | None) -> Tensor:
        """The mean loss over the queries of all processes."""
        raise UsageError(type(self).__name__, "it has no method `forward`", "write one that returns the loss")

    def forward_in_batch(
        self,
        loss: Loss,
        query: Encoded,
        target: Encoded,
        x: Ragged | None,
        labels: Tensor | None,
        space: Space,
        dim: int | None,
    ) -> Tensor:
        """The mean loss with the targets of the batch as candidates.

        Args:
            loss: the loss over the candidates' scores.
            query: the vectors of B rows.
            target: the targets of the same rows.
            x: the column of the target; None for a fused one.
            labels: (B,) keys; rows with equal ones match each other.
            space: that gives scores.
            dim: score by the first `dim` dimensions only.
        """
        raise UsageError(type(self).__name__, "it has no method `forward_in_batch`", "write one that returns the loss")


class AllCandidates(Candidates):
    """All ids that the reader of the target knows: classification with `Softmax`, tagging with `Sigmoid`."""

    supports_head = True

    def build(self, reader: Reader, loss: Loss, name: str) -> None:
        """Check that the scores of all ids can be held.

        Raises:
            UsageError: there are too many.
        """
        self.name = name
        if not loss.streams:
            self._check_size(reader.size)

    def _check_size(self, count: int) -> None:
        if count > MAX_SCORED_IDS:
            wrong = f"{count} candidates are too many to score for each row (at most {MAX_SCORED_IDS})"
            raise UsageError(self.name, wrong, "use a number of samples, such as `candidates: 512`")

    def forward(self, loss: Loss, query: Queries, targets: Targets, space: Space, dim: int | None) -> Tensor:
        """The mean loss; see `Candidates.forward`."""
        table = space.vocabulary_vectors(targets.column)  # (K, D)
        if loss.streams and targets.single and query.mix is None:
            counted = (targets.ids < len(table)) & query.present[targets.rows]
            z, ids = query.z[targets.rows], targets.ids.clamp(max=len(table) - 1)
            return loss.over_table(z, table, ids, distributed.weights(counted.to(z.dtype)), space, dim)
        self._check_size(len(table))
        return self.from_scores(loss, lambda z: space.score(z, table, dim), query, targets, len(table))

    @staticmethod
    def from_scores(
        loss: Loss, score: Callable[[Tensor], Tensor], query: Queries, targets: Targets, count: int
    ) -> Tensor:
        """The mean loss of queries z (N, D), where `score` gives their scores (N, K) for all `count` candidates."""
        starts = find_starts(targets.rows, len(query.z))
        # Rows that lack the query or the target are not scored, but for those that others are mixed with.
        rows, z = torch.arange(len(query.z), device=query.z.device), query.z
        if query.mix is None:
            rows = (query.present & (starts.diff() > 0)).nonzero().squeeze(1)
            z = z if len(rows) == len(z) else z[rows]

        def find_positives(rows: Tensor) -> Tensor:
            counts = starts[rows + 1] - starts[rows]
            positives = query.z.new_zeros(len(rows), count + 1)
            positives[repeat_index(counts), targets.ids[ranges(starts[rows], counts)]] = 1.0
            return positives[:, :count]  # without unknown ids

        def compute(numbers: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
            positives = select_mixed(find_positives, rows[numbers], query.mix)
            return loss(score(z), positives), (positives > 0).any(1)

        losses, counted = compute_in_chunks(compute, len(rows), query.chunks, query.z.device, z)
        return distributed.mean(losses, query.present[rows] & counted)


class Sampled(Candidates):
    """Ids drawn at random for a group of queries, so that most of a large table is never touched.

    An id is drawn with a probability proportional to its frequency in the training rows to the power `power`; a share
    `uniform` of the draws ignores the frequency. The losses correct for it (logQ, Bengio and Senecal 2008). The queries
    of a group share the candidates, so that their scores are one product of matrices; the other targets of a query are
    never among its wrong candidates.

    Args:
        count: C, ids that are drawn for each group, with replacement.
        power: 1 draws ids by their frequency, 0 all alike; word2vec has 3/4 (Mikolov et al. 2013). By their frequency,
            rare ids are hardly ever drawn, and score too high.
        uniform: share of the draws in which all ids are alike.
        share_among: queries of a group. If all positions of a batch of histories shared their draws, their losses
            would err in the same direction; more groups draw more ids for the same product.
    """

    supports_mixup = False

    def __init__(self, count: Count = 512, power: Share = 0.5, uniform: Share = 0.0, share_among: Count = 512) -> None:
        super().__init__()
        self.count, self.power, self.uniform, self.share_among = count, power, uniform, share_among

    def build(self, reader: Reader, loss: Loss, name: str) -> None:
        """Take the frequencies of the ids.

        Raises:
            UsageError: the loss needs uniform draws, and these are not.
        """
        if loss.needs_uniform_draws and self.power and self.uniform < 1:
            fix = "write `candidates: {class_path: Sampled, init_args: {count: 512, power: 0}}`"
            raise UsageError(name, f"{type(loss).__name__} needs candidates that are drawn uniformly", fix)
        weights = torch.tensor(reader.counts, dtype=torch.float64) ** self.power
        shares = (1 - self.uniform) * weights / weights.sum() + self.uniform / len(weights)
        self.register_buffer("shares", shares, persistent=False)
        self.register_buffer("cumulative", shares.cumsum(0), persistent=False)

    def draw(self, groups: int) -> Tensor:
        """Draw ids (G, C), with replacement; the first of the groups are the same in all processes."""
        cumulative = cast(Tensor, self.cumulative)
        # Processes may have different numbers of groups: they share a seed, which is one message.
        generator = torch.Generator().manual_seed(distributed.shared_seed(cumulative.device))
        chance = torch.rand(groups, self.count, dtype=cumulative.dtype, generator=generator).to(cumulative.device)
        return torch.searchsorted(cumulative, chance).clamp(max=len(cumulative) - 1)

    def forward(self, loss: Loss, query: Queries, targets: Targets, space: Space, dim: int | None) -> Tensor:
        """The mean loss; a query with several targets pays the mean over them."""
        shares, count = cast(Tensor, self.shares), len(query.z)
        ids, rows = _select_known(targets, query.present, len(shares))
        samples = self.draw(-(-max(1, count) // self.share_among))  # (G, C)
        distinct, places = torch.unique(torch.cat([ids, samples.flatten()]), return_inverse=True)
        vectors = space.embed_ids(targets.column, distinct)  # (U, D)
        targets_at, samples_at = places[: len(ids)], places[len(ids) :].view_as(samples)
        starts = find_starts(rows, count)
        weights = distributed.weights(1 / starts.diff()[rows].to(query.z.dtype))

        def compute_group(z: Tensor, group: int, first: int, end: int) -> Tensor:
            pairs = slice(int(starts[first]), int(starts[end]))
            is_target = torch.zeros(end - first, len(distinct), dtype=torch.bool, device=rows.device)
            is_target[rows[pairs] - first, targets_at[pairs]] = True
            at, expected = samples_at[group], shares[samples[group]] * self.count
            sample = Sample(
                vectors, rows[pairs] - first, targets_at[pairs], at, expected, is_target[:, at], weights[pairs]
            )
            return loss.over_sample(z, sample, space, dim)

        def compute(numbers: Tensor, z: Tensor) -> Tensor:
            if not len(numbers):
                return compute_group(z, 0, 0, 0)[None]
            first, end, size = int(numbers[0]), int(numbers[-1]) + 1, self.share_among
            groups = range(first // size, (end - 1) // size + 1)
            bounds = [(max(first, group * size), min(end, (group + 1) * size)) for group in groups]
            parts = torch.split(z, [end - start for start, end in bounds])
            return torch.stack([
                compute_group(part, group, *bound) for part, group, bound in zip(parts, groups, bounds, strict=True)
            ])  # fmt: skip

        return compute_in_chunks(compute, count, query.chunks, query.z.device, query.z).sum()


def _select_known(targets: Targets, present: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The ids (P,) of the targets that are in the vocabulary, each once for a query that counts, and its rows (P,)."""
    is_known = (targets.ids < size) & present[targets.rows]
    ids, rows = targets.ids[is_known], targets.rows[is_known]
    if targets.single:
        return ids, rows
    pairs = torch.unique(rows * size + ids)
    return pairs % size, pairs // size
