"""Candidates that are the targets of the batch: contrastive learning, with what corrects for their frequency."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ..arguments import NonNegative
from ..errors import UsageError
from ..ragged import Ragged, ranges, repeat_index
from ..space.chunks import compute_in_chunks
from ..space.encoded import Encoded
from ..space.space import Space
from . import distributed
from .candidates import Candidates
from .losses import Loss
from .pairs import Pairs, find_starts, pair_with_targets, target_pieces

# B queries, P targets, C candidates, D dimension of the space

FREQUENCY_BUCKETS = 2**18  # that keys are hashed into


class KeyFrequencies(nn.Module):
    """How often keys have occurred in training, counted in hashed buckets, for the logQ correction."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("counts", torch.zeros(FREQUENCY_BUCKETS, dtype=torch.int64))

    def forward(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithms (N,) of how often each of the keys (N,) is expected among N, and of how often it occurs in them.

        In training the keys are counted.
        """
        counts, places = cast(Tensor, self.counts), keys % FREQUENCY_BUCKETS
        if self.training:
            counts.index_add_(0, places, torch.ones_like(places))
        expected = len(keys) * counts[places].clamp(min=1).double() / counts.sum().clamp(min=1)
        _, number, occurrences = torch.unique(keys, return_inverse=True, return_counts=True)
        return expected.log(), occurrences[number].double().log()


class InBatch(Candidates):
    """The targets of the batch, of all processes: InfoNCE with `Softmax` (as in CLIP), SigLIP with `Sigmoid`.

    Row i and row j match too if their targets or their queries are equal, or their labels. Several captions or tags of
    a cell are targets one by one.

    Args:
        log_q: a frequent target occurs in many batches, and learns to score low. Subtract the logarithm of how often
            each wrong candidate is expected in a batch from its logit (Yi et al. 2019), counted while training. The
            right candidate is in every batch of its query, so it is not corrected, but counts once (Khrylchenko et al.
            2025). The loss then tends to that among all targets.
    """

    from_batch = True

    def __init__(self, log_q: bool = False) -> None:
        super().__init__()
        self.log_q = log_q
        self.query_frequencies, self.target_frequencies = (KeyFrequencies() if log_q else None for _ in range(2))

    def build_in_batch(self, space: Space, loss: Loss, name: str) -> None:
        """Check the loss.

        Raises:
            UsageError: `log_q` with a loss that has no logits of a softmax.
        """
        if self.log_q and not loss.corrects_frequency:
            fix = "use `loss: softmax`, or leave `log_q` out"
            raise UsageError(name, f"`log_q` corrects a softmax, and the loss is {type(loss).__name__}", fix)

    def pair(self, query: Encoded, target: Encoded, x: Ragged | None, labels: Tensor | None) -> Pairs:
        """The queries and their candidates; see `Candidates.forward_in_batch` for the arguments."""
        return pair_with_targets(query, target, x, labels)

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
        pairs = self.pair(query, target, x, labels)
        t, t_present, _ = target_pieces(target, x)
        own_queries, own_targets = pairs.own()
        of_targets = self.target_frequencies(pairs.target_keys) if self.target_frequencies else None
        of_queries = self.query_frequencies(pairs.query_keys) if self.query_frequencies else None

        def correct(scores: Tensor, positives: Tensor, logarithms: tuple[Tensor, Tensor] | None) -> Tensor:
            if logarithms is None:
                return scores
            expected, occurrences = (part.to(scores.dtype) for part in logarithms)
            return loss.subtract_logits(scores, torch.where(positives > 0, occurrences, expected))

        if query.chunks == 1 and pairs.targets is t:  # in one process both ways are of the same scores
            scores, positives = space.score(query.z, t, dim), pairs.positives(own_queries, own_targets)
            matched = positives > 0
            losses = loss(correct(scores, positives, of_targets), positives, t_present)
            forth = distributed.mean(losses, query.present & matched.any(1))
            if not loss.symmetric:
                return forth
            back = loss(correct(scores.T, positives.T, of_queries), positives.T, query.present)
            return (forth + distributed.mean(back, t_present & matched.any(0))) / 2
        every_query, every_target = pairs.every()

        def look_for_targets(rows: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
            positives = pairs.positives(own_queries[rows], every_target)
            scores = correct(space.score(z, pairs.targets, dim), positives, of_targets)
            return loss(scores, positives, pairs.targets_present), (positives > 0).any(1)

        def look_for_queries(places: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
            positives = pairs.positives(every_query, own_targets[places]).T
            scores = correct(space.score(z, pairs.queries, dim), positives, of_queries)
            return loss(scores, positives, pairs.queries_present), (positives > 0).any(1)

        losses, matched = compute_in_chunks(look_for_targets, len(query.z), query.chunks, t.device, query.z)
        forth = distributed.mean(losses, query.present & matched)
        if not loss.symmetric:
            return forth
        losses, matched = compute_in_chunks(look_for_queries, len(t), query.chunks, t.device, t)
        return (forth + distributed.mean(losses, t_present & matched)) / 2


class DistinctInBatch(Candidates):
    """The distinct targets of the batch, of all processes: tagging with tags that are read as text (`loss: sigmoid`).

    A tag that many rows have is one candidate, as it is with `all`. Queries look for targets, and not the other way.

    Args:
        late_interaction: the score of a query is the highest that any of its pieces has (MaxSim of ColBERT, Khattab and
            Zaharia 2020): a caption given as a list of phrases has a tag if one phrase says so. A query that is one
            phrase is searched with as usual.
        temperature: of a smooth maximum (LogSumExp) over the pieces instead, in units of the score, so that all phrases
            learn and not the best one alone; 0 is the maximum itself.

    Raises:
        UsageError: a temperature is given without `late_interaction`.
    """

    from_batch = True
    supports_mixup = False

    def __init__(self, late_interaction: bool = False, temperature: NonNegative = 0.0) -> None:
        super().__init__()
        if temperature and not late_interaction:
            wrong = f"temperature {temperature:g} needs `late_interaction: true`"
            raise UsageError("DistinctInBatch", wrong, "write that, or leave `temperature` out")
        self.late_interaction, self.temperature = late_interaction, temperature

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
        own_queries, every_target = pairs.own()[0], pairs.every()[1]

        def compute(rows: Tensor) -> tuple[Tensor, Tensor]:
            matches = pairs.positives(own_queries[rows], every_target)
            shape = number.expand(len(rows), -1)
            positives = matches.new_zeros(len(rows), count).scatter_reduce(1, shape, matches, "amax")
            scores = self._score(query, rows, pairs.targets[first], space, dim)
            return loss(scores, positives, pairs.targets_present[first]), (positives > 0).any(1)

        losses, matched = compute_in_chunks(compute, len(query.z), query.chunks, query.z.device)
        return distributed.mean(losses, query.present & matched)

    def _score(self, query: Encoded, rows: Tensor, targets: Tensor, space: Space, dim: int | None) -> Tensor:
        """(N, C), for the N rows that are given."""
        if not self.late_interaction or query.pieces is None:
            return space.score(query.z[rows], targets, dim)
        assert query.piece_rows is not None
        starts = find_starts(query.piece_rows, len(query.z))
        counts = starts[rows + 1] - starts[rows]
        scores = space.score(query.pieces[ranges(starts[rows], counts)], targets, dim)
        zeros, places = scores.new_zeros(len(rows), len(targets)), repeat_index(counts)
        index = places[:, None].expand_as(scores)
        if not self.temperature:
            return zeros.scatter_reduce(0, index, scores, "amax", include_self=False)
        highest = zeros.scatter_reduce(0, index, scores.detach(), "amax", include_self=False)
        total = zeros.index_add(0, places, ((scores - highest[places]) / self.temperature).exp())
        return highest + self.temperature * total.clamp(min=1).log()  # a query without pieces has a total of 0
