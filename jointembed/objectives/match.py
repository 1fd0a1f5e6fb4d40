"""Matching items with their labels, their captions, their likes."""

from __future__ import annotations

from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..arguments import Count, NonNegative
from ..encoders import make_mlp
from ..errors import UsageError, did_you_mean
from ..readers import Category, Reader
from ..space.encoded import Encoded
from ..space.space import Space
from .candidates import AllCandidates, Candidates, Queries, Sampled, Targets
from .in_batch import InBatch
from .losses import Loss, Sigmoid, Softmax
from .objective import Batch, Objective

# B rows, K ids of a vocabulary


class Match(Objective):
    """Matching a query with its target among candidates, by the score of the space.

    - `candidates: all`: all known ids of the target: softmax classification, or tagging with `loss: sigmoid`.
    - `candidates: batch`: the targets of the batch, both ways: InfoNCE (CLIP), or SigLIP with `loss: sigmoid`.
    - `candidates: 512`: this many ids drawn by the root of their frequency: a sampled softmax, for large vocabularies.

    Args:
        query: column of the queries.
        target: column of what they look for.
        candidates: `all`, `batch`, a number of samples, or an object: `AllCandidates`, `InBatch`,
            `DistinctInBatch`, `CrossBatchMemory`, `Sampled`, `Buckets`.
        loss: `softmax`: one of the candidates is right. `sigmoid`: each is right or wrong on its own. Or an object:
            `Softmax`, `Sigmoid`, `GBCE`, or a custom `Loss`.
        positives_by: a further column; rows with equal cells there match each other (`candidates: batch` only).
        head: hidden layers of a network from the vector to the answer (`candidates: all` only). The target then is
            predicted, and not a point of the space.
        weight: in the sum of all objectives.
    """

    def __init__(
        self,
        query: str,
        target: str,
        candidates: Literal["all", "batch"] | Count | Candidates = "batch",
        loss: Literal["softmax", "sigmoid"] | Loss = "softmax",
        positives_by: str | None = None,
        head: list[Count] | None = None,
        weight: NonNegative = 1.0,
    ) -> None:
        super().__init__()
        self.query, self.target, self.weight = query, target, weight
        self.candidates, self.loss = make_candidates(candidates), make_loss(loss)
        self.positives_by, self.head = positives_by, list(head or [])
        title = f"Match({query}, {target})"
        if head and not self.candidates.supports_head:
            raise UsageError(title, "`head` needs `candidates: all`", "write that, or leave `head` out")
        if positives_by and not self.candidates.from_batch:
            raise UsageError(title, "`positives_by` needs `candidates: batch`", "write that, or leave it out")
        self.own = {target: Category()} if head else {}
        self.uses_score, self.is_exclusive = not head, self.loss.is_exclusive
        self.label_columns = query, target
        self.supports_mixup = self.candidates.supports_mixup

    def readers(self) -> dict[str, Reader]:
        """The reader of the target, if it is predicted by a head."""
        return dict(self.own)

    def columns(self) -> list[str]:
        """The query, and the target where its vectors are taken from the batch."""
        return [self.query, self.target] if self.candidates.from_batch else [self.query]

    def row_columns(self) -> list[str]:
        """The query and the target, unless rows match by another column."""
        return [] if self.positives_by else [self.query, self.target]

    def piece_columns(self) -> set[str]:
        """The target of the batch: several captions or tags of a cell are targets one by one. The query likewise."""
        late = {self.query} if self.candidates.late_interaction else set()
        return late | ({self.target} if self.candidates.from_batch else set())

    def key_columns(self) -> set[str]:
        """The column of `positives_by`."""
        return {self.positives_by} if self.positives_by else set()

    @property
    def name(self) -> str:
        """The query and the target."""
        return f"{self.query}_{self.target}"

    def build(self, space: Space) -> None:
        """Make the parameters of the loss, and the head.

        Raises:
            UsageError: the candidates need a column of ids, and the target is not, or it is empty.
        """
        title = f"Match({self.query}, {self.target})"
        if self.candidates.from_batch:
            self.loss.build(space, None)
            self.candidates.build_in_batch(space, self.loss, title)
            return
        reader = self.own[self.target] if self.own else space.reader(self.target)
        if len(reader.counts) != reader.size:
            fix = f"read {self.target} with EmbeddingBag(Category), or use `candidates: batch`"
            raise UsageError(title, f"its candidates are ids, and {self.target} is not a column of ids", fix)
        if not reader.size:
            raise UsageError(self.target, "no training row has such a cell", "check the column and the split")
        self.candidates.build(reader, self.loss, title)
        if self.head:
            self.network = make_mlp(space.dim, self.head, reader.size)
        else:
            self.loss.build(space, reader.size)

    def forward(self, encoded: dict[str, Encoded], batch: Batch, space: Space, dim: int | None = None) -> Tensor:
        """The loss; see `Objective.forward`."""
        query = encoded[self.query]
        if self.candidates.from_batch:
            labels = batch[self.positives_by].row_keys if self.positives_by else None
            return self.candidates.forward_in_batch(
                self.loss, query, encoded[self.target], batch.get(self.target), labels, space, dim
            )
        x = batch[self.target]
        single = int(x.counts.max() if len(x) else 0) < 2
        queries = Queries(query.z, query.present, query.mix, query.chunks)
        targets = Targets(self.target, x.values, x.rows, single)
        if self.head:
            count = self.own[self.target].size
            return AllCandidates.from_scores(self.loss, self.network, queries, targets, count)
        return self.candidates(self.loss, queries, targets, space, dim)  # type: ignore[no-any-return]

    def predict(self, z: Tensor) -> NDArray[Any]:
        """The likeliest id for each of the vectors z (N, D), by the head.

        Raises:
            UsageError: without a head the target is a point of the space.
        """
        if not self.head:
            return super().predict(z)
        with torch.inference_mode():
            best = self.network(z).argmax(1)
        labels = self.own[self.target].vocabulary()
        return np.array([labels[number] for number in best.tolist()], dtype=object)

    def label_names(self, space: Space) -> list[str]:
        """The K labels that a head predicts, or those of the vocabulary of the target; see `Objective.label_names`."""
        reader = self.own[self.target] if self.head else space.reader(self.target)
        has_labels = reader.size and len(reader.counts) == reader.size  # words of a text are none
        if not (has_labels and (self.head or self.loss.gives_probabilities)):
            return super().label_names(space)
        return reader.vocabulary()

    def label_logits(self, z: Tensor, space: Space) -> Tensor:
        """The logits (N, K) by the head, or by the score with the trained temperature; see `Objective`."""
        if self.head:
            return cast(Tensor, self.network(z))
        return self.loss.logits(space.score(z, space.vocabulary_vectors(self.target)))


def make_candidates(candidates: Literal["all", "batch"] | int | Candidates) -> Candidates:
    """The candidates that a short form stands for.

    Raises:
        UsageError: it stands for none.
    """
    if isinstance(candidates, int):
        return Sampled(candidates)
    if isinstance(candidates, str):
        if candidates not in ("all", "batch"):
            raise UsageError("candidates", f"must be all, batch or a number, got {candidates!r}", "write `all`")
        short_form: Candidates = AllCandidates() if candidates == "all" else InBatch()
        return short_form
    return candidates


def make_loss(loss: Literal["softmax", "sigmoid"] | Loss) -> Loss:
    """The loss that a short form stands for.

    Raises:
        UsageError: it stands for none.
    """
    if isinstance(loss, str):
        if loss not in ("softmax", "sigmoid"):
            wrong = f"must be softmax, sigmoid or an object, got {loss!r}"
            raise UsageError("loss", wrong, did_you_mean(loss, ["softmax", "sigmoid"]))
        return Softmax() if loss == "softmax" else Sigmoid()
    return loss
