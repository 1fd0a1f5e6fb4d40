"""Losses over candidate scores: softmax cross entropy (InfoNCE) and sigmoid (SigLIP), with a learned temperature."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..arguments import Dropout, Positive, Share, check_shape
from ..config import Configurable
from ..errors import UsageError
from ..space.pair_products import pair_products
from ..space.space import Space
from . import cross_entropy

# N queries, C candidates, D dimension of the space, K ids of a vocabulary


@dataclass
class Sample:
    """The P targets of N queries, and C candidates for all of them, drawn at random.

    Args:
        vectors: (U, D) of the distinct ids.
        rows: (P,) the query of each target; non-decreasing.
        targets: (P,) the place of each target among the vectors.
        candidates: (C,) the place of each candidate.
        expected: (C,) how often each candidate is expected among C draws.
        accidental_hits: (N, C) bool: candidates that are a target of the query, and so do not count.
        weights: (P,) of each target in the sum of the losses.
    """

    vectors: Tensor
    rows: Tensor
    targets: Tensor
    candidates: Tensor
    expected: Tensor
    accidental_hits: Tensor
    weights: Tensor


class Loss(Configurable, nn.Module):
    """The loss of queries, given the scores of their candidates. A custom loss needs `forward` only.

    >>> class Triplet(Loss):
    ...     def forward(self, scores, positives, candidates=None):
    ...         right = (scores * positives).sum(1) / positives.sum(1).clamp(min=1)
    ...         wrong = scores.masked_fill(positives > 0, -1).amax(1)
    ...         return (0.2 + wrong - right).clamp(min=0)
    """

    symmetric: bool = True  # the loss in a batch is averaged over both directions, query to target and back
    gives_probabilities: bool = False  # `logits` turns scores into logits, so that candidates have probabilities
    is_exclusive: bool = True  # one of the candidates is right, so that their probabilities add up to 1
    needs_uniform_draws: bool = False  # sampled candidates must be drawn whatever their frequency
    corrects_frequency: bool = False  # `subtract_logits` is there, for the logQ correction in a batch
    streams: bool = False  # `over_table` never holds the matrix of all scores, so that tables may be large

    def build(self, space: Space, count: int | None) -> None:
        """Make its parameters, for scores of a space among `count` candidates, or those of a batch (None)."""

    def __call__(self, scores: Tensor, positives: Tensor, candidates: Tensor | None = None) -> Tensor:
        """The loss (N,) of each query, by `forward`, whose result is checked."""
        losses: Tensor = super().__call__(scores, positives, candidates)
        check_shape(self, "forward", losses, (len(scores),))
        return losses

    def forward(self, scores: Tensor, positives: Tensor, candidates: Tensor | None = None) -> Tensor:
        """The loss (N,) of each query.

        Args:
            scores: (N, C).
            positives: (N, C) 1 where a candidate is right and 0 where it is not; shares in between under mixup.
            candidates: bool, (C,) or (N, C): those that count; all if not given.
        """
        raise UsageError(type(self).__name__, "it has no method `forward`", "write one that returns (N,) losses")

    def logits(self, scores: Tensor) -> Tensor:
        """Scores -> logits."""
        raise UsageError(type(self).__name__, "it gives no probabilities", "use softmax or sigmoid")

    def subtract_logits(self, scores: Tensor, logits: Tensor) -> Tensor:
        """Scores whose logits are those of `scores` minus `logits`, of the same shape."""
        raise UsageError(type(self).__name__, "it has no logits to correct", "use softmax")

    def over_table(
        self, query: Tensor, table: Tensor, target: Tensor, weights: Tensor, space: Space, dim: int | None
    ) -> Tensor:
        """The weighted sum of the losses of queries (N, D) that have one target (N,) each in a table (K, D)."""
        positives = F.one_hot(target, len(table)).to(query.dtype)
        return (self(space.score(query, table, dim), positives) * weights).sum()

    def over_sample(self, query: Tensor, sample: Sample, space: Space, dim: int | None) -> Tensor:
        """The weighted sum of the losses of queries (N, D) among candidates that were drawn at random.

        Here each target is a query of its own: the other targets of its row are left out of the candidates.
        """
        own = space.pair_scores(query, sample.vectors, sample.rows, sample.targets, dim)[:, None]
        negatives = space.score(query, sample.vectors[sample.candidates], dim)
        scores = torch.cat([own, negatives[sample.rows]], 1)
        positives = torch.zeros_like(scores)
        positives[:, 0] = 1
        accidental_hits = sample.accidental_hits[sample.rows]
        candidates = torch.cat([torch.ones_like(accidental_hits[:, :1]), ~accidental_hits], 1)
        return (self(scores, positives, candidates) * sample.weights).sum()


class _Scaled(Loss):
    """Losses of logits: scores times a learned factor, the inverse of the temperature."""

    gives_probabilities = True
    log_scale: nn.Parameter | None

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.register_parameter("log_scale", None)

    def build(self, space: Space, count: int | None) -> None:
        """Make the scale of the scores; scores other than cosines start at a scale of 1."""
        start = -math.log(self.temperature) if space.metric == "cosine" else 0.0
        self.log_scale = nn.Parameter(torch.tensor(start))

    @property
    def scale(self) -> Tensor:
        """What scores are multiplied by; it stays within [1/100, 100], as in CLIP."""
        assert self.log_scale is not None
        return self.log_scale.clamp(-math.log(100), math.log(100)).exp()

    def logits(self, scores: Tensor) -> Tensor:
        """Scores -> logits; what a head gives instead of scores are logits already."""
        return scores if self.log_scale is None else scores * self.scale


class Softmax(_Scaled):
    """One of the candidates is right: cross entropy, as in classification and InfoNCE (van den Oord et al. 2018).

    A query with several targets pays the mean over them (Khosla et al. 2020).

    Args:
        temperature: to start from, if the metric is cosine (CLIP's by default); it is learned.
        label_smoothing: this share of the target is spread evenly over all candidates (Szegedy et al. 2016).
    """

    streams, corrects_frequency = True, True

    def __init__(self, temperature: Positive = 0.07, label_smoothing: Dropout = 0.0) -> None:
        super().__init__(temperature)
        self.label_smoothing = label_smoothing

    def forward(self, scores: Tensor, positives: Tensor, candidates: Tensor | None = None) -> Tensor:
        """The cross entropy (N,); see `Loss.forward`."""
        logits = self.logits(scores)
        if candidates is not None:
            # A row without any candidate keeps all: it does not count anyway.
            absent = torch.zeros_like(candidates, dtype=logits.dtype)
            logits = logits + absent.masked_fill(~candidates, torch.finfo(logits.dtype).min)
        counts = positives.sum(1)
        log_shares = logits.log_softmax(1)
        losses = -(log_shares * positives).sum(1) / torch.where(counts > 0, counts, 1)
        if not self.label_smoothing:
            return losses
        count = torch.ones_like(scores) if candidates is None else candidates.expand_as(scores).to(scores.dtype)
        even = -(log_shares * count).sum(1) / count.sum(1).clamp(min=1)
        return (1 - self.label_smoothing) * losses + self.label_smoothing * even * (counts > 0)

    def subtract_logits(self, scores: Tensor, logits: Tensor) -> Tensor:
        """Scores that are lower by logits, in their own unit; see `Loss.subtract_logits`."""
        return scores - logits / self.scale

    def over_table(
        self, query: Tensor, table: Tensor, target: Tensor, weights: Tensor, space: Space, dim: int | None
    ) -> Tensor:
        """The same without the matrix of scores (N, K); see `cross_entropy.exact`."""
        a, b = space.score_factors(query, table, dim)
        a = a * self.scale
        loss = cross_entropy.exact(a, b, target, weights)
        if not self.label_smoothing:
            return loss
        # The mean score over the table is the score of its mean.
        excess = (a * (b[target] - b.mean(0))).sum(1)
        return loss + self.label_smoothing * (excess * weights).sum()

    def over_sample(self, query: Tensor, sample: Sample, space: Space, dim: int | None) -> Tensor:
        """The sampled softmax with the logQ correction (Bengio and Senecal 2008); see `Loss.over_sample`."""
        if self.label_smoothing:
            fix = "use other candidates, such as `all`, or leave it out"
            raise UsageError("label_smoothing", "it needs the scores of all candidates, not of a sample", fix)
        a, b = space.score_factors(query, sample.vectors, dim)
        a = a * self.scale
        own = pair_products(a, b, sample.rows, sample.targets)
        negatives, log_expected = b[sample.candidates], sample.expected.log().to(a.dtype)
        return cross_entropy.sampled(
            a, own, sample.rows, negatives, log_expected, sample.accidental_hits, sample.weights
        )


class Sigmoid(_Scaled):
    """Each candidate is right or wrong on its own: binary cross entropy, as in tagging and SigLIP (Zhai et al. 2023).

    Args:
        temperature: to start from, if the metric is cosine (SigLIP's by default); it is learned.
    """

    is_exclusive = False
    symmetric = False  # each pair is judged once, whoever looks for whom

    def __init__(self, temperature: Positive = 0.1) -> None:
        super().__init__(temperature)

    def build(self, space: Space, count: int | None) -> None:
        """Make the scale of the scores, and a bias at which nearly all candidates are wrong."""
        super().build(space, count)
        self.bias = nn.Parameter(torch.tensor(-10.0 if count is None else -math.log(count + 1.0)))

    def logits(self, scores: Tensor) -> Tensor:
        """Scores -> logits."""
        return scores if self.log_scale is None else scores * self.scale + self.bias

    def forward(self, scores: Tensor, positives: Tensor, candidates: Tensor | None = None) -> Tensor:
        """The sum (N,) of the binary cross entropies; see `Loss.forward`."""
        losses = F.binary_cross_entropy_with_logits(self.logits(scores), positives, reduction="none")
        return (losses if candidates is None else losses * candidates).sum(1)

    def over_sample(self, query: Tensor, sample: Sample, space: Space, dim: int | None) -> Tensor:
        """A drawn candidate stands for 1 / expected of its kind: on average this is the sum over the whole table."""
        right = self.logits(space.pair_scores(query, sample.vectors, sample.rows, sample.targets, dim))  # (P,)
        negatives = self.logits(space.score(query, sample.vectors[sample.candidates], dim))  # (N, C)
        wrong = F.softplus(negatives) / sample.expected.to(right.dtype)
        losses = F.softplus(-right) + wrong.masked_fill(sample.accidental_hits, 0).sum(1)[sample.rows]
        return (losses * sample.weights).sum()


class GBCE(Sigmoid):
    """gBCE: binary cross entropy among samples, as calibrated as among all candidates (Petrov and Macdonald 2023).

    Among few wrong candidates, each looks too likely to be right. The loss of the target is therefore multiplied by a
    factor below 1, which follows from the share of the vocabulary that is drawn. It needs uniform draws:
    `candidates: {class_path: Sampled, init_args: {count: 256, power: 0}}`.

    Args:
        calibration: t, from 0, the plain binary cross entropy, to 1, scores as calibrated as those of all candidates.
        temperature: to start from, if the metric is cosine; it is learned.
    """

    needs_uniform_draws = True

    def __init__(self, calibration: Share = 0.75, temperature: Positive = 0.1) -> None:
        super().__init__(temperature)
        self.calibration = calibration

    def build(self, space: Space, count: int | None) -> None:
        """Take the size of the vocabulary.

        Raises:
            UsageError: the candidates are those of the batch.
        """
        if count is None:
            raise UsageError("GBCE", "it needs candidates that are sampled ids", "use `Sampled` with `power: 0`")
        super().build(space, count)
        self.count = count

    def over_sample(self, query: Tensor, sample: Sample, space: Space, dim: int | None) -> Tensor:
        """The weighted sum over the targets; see `Loss.over_sample`."""
        rate = min(1.0, len(sample.candidates) / max(1, self.count - 1))
        factor = 1 - self.calibration * (1 - rate)  # beta of the article, with its alpha written out
        right = self.logits(space.pair_scores(query, sample.vectors, sample.rows, sample.targets, dim))  # (P,)
        wrong = F.softplus(self.logits(space.score(query, sample.vectors[sample.candidates], dim)))  # (N, C)
        losses = factor * F.softplus(-right) + wrong.masked_fill(sample.accidental_hits, 0).sum(1)[sample.rows]
        return (losses * sample.weights).sum()
