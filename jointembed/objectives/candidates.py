"""Candidate sets that a query is scored against: a whole vocabulary, sampled ids, or the targets of the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from ..arguments import Count
from ..config import Configurable
from ..errors import UsageError
from ..ragged import Ragged
from ..readers import Reader
from ..space.encoded import Encoded, Mix
from ..space.space import Space
from . import distributed
from .losses import Loss, Sample

# B queries, P targets, C candidates, K ids of a vocabulary, D dimension of the space

MAX_SCORED_IDS = 20_000  # ids of a vocabulary whose scores are all held at once


@dataclass
class Queries:
    """Queries z (B, D), those that count (B,), and how mixup combined them."""

    z: Tensor
    present: Tensor
    mix: Mix | None = None


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
        return self.from_scores(loss, space.score(query.z, table, dim), query, targets)

    @staticmethod
    def from_scores(loss: Loss, scores: Tensor, query: Queries, targets: Targets) -> Tensor:
        """The mean loss of scores (B, K)."""
        count = scores.shape[1]
        positives = scores.new_zeros(len(scores), count + 1)
        positives[targets.rows, targets.ids] = 1.0
        positives = positives[:, :count]  # without unknown ids
        if query.mix is not None:
            positives = query.mix(positives)
        return distributed.mean(loss(scores, positives), query.present & (positives > 0).any(1))


class Sampled(Candidates):
    """Ids drawn by their frequency in the training rows, so that most of a large table is never touched.

    Args:
        count: C, ids that are drawn for each batch, with replacement.
    """

    supports_mixup = False

    def __init__(self, count: Count = 512) -> None:
        super().__init__()
        self.count = count

    def build(self, reader: Reader, loss: Loss, name: str) -> None:
        """Take the frequencies of the ids."""
        counts = torch.tensor(reader.counts, dtype=torch.float64)
        self.register_buffer("shares", counts / counts.sum(), persistent=False)
        self.register_buffer("cumulative", (counts / counts.sum()).cumsum(0), persistent=False)

    def draw(self) -> Tensor:
        """Draw ids (C,), with replacement, proportionally to their training frequency; the same in all processes."""
        cumulative = cast(Tensor, self.cumulative)
        chance = torch.rand(self.count, dtype=cumulative.dtype, device=cumulative.device)
        return distributed.share(torch.searchsorted(cumulative, chance).clamp(max=len(cumulative) - 1))

    def forward(self, loss: Loss, query: Queries, targets: Targets, space: Space, dim: int | None) -> Tensor:
        """The mean loss; each id of a cell with several is a target of its own."""
        shares = cast(Tensor, self.shares)
        is_known = targets.ids < len(shares)
        ids = targets.ids.clamp(max=len(shares) - 1)
        z, samples = query.z[targets.rows], self.draw()
        # One gather for both, and so one gradient of rows: several would be put together first.
        vectors = space.embed_ids(targets.column, torch.cat([ids, samples]))  # (P + C, D)
        counts = torch.zeros_like(query.present, dtype=torch.int64).index_add_(
            0, targets.rows, torch.ones_like(targets.rows)
        )
        weights = distributed.weights((is_known & query.present[targets.rows]).to(z.dtype) / counts[targets.rows])
        sample = Sample(vectors, shares[samples] * len(samples), samples == ids[:, None], weights)
        return loss.over_sample(z, sample, space, dim)


class InBatch(Candidates):
    """The targets of the batch, of all processes: InfoNCE with `Softmax` (as in CLIP), SigLIP with `Sigmoid`.

    Row i and row j match too if their targets or their queries are equal, or their labels. Several captions or tags of
    a cell are targets one by one.
    """

    from_batch = True

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
        """The mean loss over the queries of all processes, and over their targets if the loss is symmetric."""
        t, t_present, _ = target_pieces(target, x)
        pairs = pair_with_targets(query, target, x, labels)
        first, t_first = pairs.first_query, pairs.first_target
        positives = self._mix(pairs.positives.to(t.dtype), query, target, first)  # (B of all, P of all)
        scores = space.score(query.z, pairs.targets, dim)
        own = positives[first : first + len(query.z)]
        forth = self._mean(loss, scores, own, query.present, pairs.targets_present)
        if not loss.symmetric:
            return forth
        # In one process both ways are of the same scores.
        back = scores.T if pairs.targets is t else space.score(t, pairs.queries, dim)
        own = positives.T[t_first : t_first + len(t)]
        return (forth + self._mean(loss, back, own, t_present, pairs.queries_present)) / 2

    @staticmethod
    def _mean(loss: Loss, scores: Tensor, positives: Tensor, present: Tensor, candidates: Tensor) -> Tensor:
        return distributed.mean(loss(scores, positives, candidates), present & (positives > 0).any(1))

    @staticmethod
    def _mix(positives: Tensor, query: Encoded, target: Encoded, first: int) -> Tensor:
        """The shares of positives (B, P) where the rows of a column are mixed."""
        for encoded in (query, target):
            if encoded.mix is not None:
                partner, _ = distributed.gather(encoded.mix.partner + first)
                mix = Mix(partner, distributed.gather(encoded.mix.share)[0])
                positives = mix(positives) if encoded is query else mix(positives.T).T
        return positives


class DistinctInBatch(Candidates):
    """The distinct targets of the batch, of all processes: tagging with tags that are read as text (`loss: sigmoid`).

    A tag that many rows have is one candidate, as it is with `all`. Queries look for targets, and not the other way.

    Args:
        late_interaction: the score of a query is the highest that any of its pieces has (MaxSim of ColBERT, Khattab and
            Zaharia 2020): a caption given as a list of phrases has a tag if one phrase says so. A query that is one
            phrase is searched with as usual.
    """

    from_batch = True
    supports_mixup = False

    def __init__(self, late_interaction: bool = False) -> None:
        super().__init__()
        self.late_interaction = late_interaction

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
        """The mean loss over the queries of all processes."""
        pairs = pair_with_targets(query, target, x, labels)
        _, number = torch.unique(pairs.target_keys, return_inverse=True)
        count = int(number.max()) + 1 if len(number) else 0
        order = torch.arange(len(number), device=number.device)
        first = number.new_full((count,), len(number)).scatter_reduce(0, number, order, "amin")
        mine = pairs.positives[pairs.first_query : pairs.first_query + len(query.z)].to(query.z.dtype)
        positives = mine.new_zeros(len(mine), count).scatter_reduce(1, number.expand(len(mine), -1), mine, "amax")
        scores = self._score(query, pairs.targets[first], space, dim)
        losses = loss(scores, positives, pairs.targets_present[first])
        return distributed.mean(losses, query.present & (positives > 0).any(1))

    def _score(self, query: Encoded, targets: Tensor, space: Space, dim: int | None) -> Tensor:
        """(B, C)."""
        if not self.late_interaction or query.pieces is None:
            return space.score(query.z, targets, dim)
        assert query.piece_rows is not None
        scores = space.score(query.pieces, targets, dim)
        rows = query.piece_rows[:, None].expand_as(scores)
        highest = scores.new_zeros(len(query.z), len(targets))
        return highest.scatter_reduce(0, rows, scores, "amax", include_self=False)


@dataclass
class Pairs:
    """The queries and targets of all processes, and which belong together.

    Args:
        queries: (B, D).
        queries_present: (B,).
        first_query: the position of the first query of this process.
        targets: (P, D).
        targets_present: (P,).
        target_keys: (P,) equal targets have equal keys.
        first_target: the position of the first target of this process.
        positives: (B, P) bool.
    """

    queries: Tensor
    queries_present: Tensor
    first_query: int
    targets: Tensor
    targets_present: Tensor
    target_keys: Tensor
    first_target: int
    positives: Tensor


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
    if target.pieces is not None:
        assert x is not None and x.piece_keys is not None
        t_keys = x.piece_keys
    else:
        t_keys = target.row_keys
    all_q, first = distributed.gather(query.z)
    all_t, t_first = distributed.gather(t)
    q_present, q_keys, all_t_present, all_t_keys, all_t_rows = (
        distributed.gather(part)[0] for part in (query.present, query.row_keys, t_present, t_keys, t_rows + first)
    )
    # A target equal to any of a row's own targets is that row's too.
    equal = all_t_keys[:, None] == all_t_keys
    if target.pieces is not None:
        counts = equal.new_zeros(len(all_q), len(all_t), dtype=torch.int32)
        equal = counts.index_add_(0, all_t_rows, equal.int()) > 0
    match = (q_keys[:, None] == q_keys[all_t_rows]) | equal
    if labels is not None:
        all_labels, _ = distributed.gather(labels)
        match = match | (all_labels[:, None] == all_labels[all_t_rows])
    positives = match & q_present[:, None] & all_t_present
    return Pairs(all_q, q_present, first, all_t, all_t_present, all_t_keys, t_first, positives)
