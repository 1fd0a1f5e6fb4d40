"""Matching things with their labels, their captions, their likes."""

from __future__ import annotations

import math
from typing import Any, Literal, NoReturn, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..encoders import make_mlp
from ..errors import UsageError
from ..ragged import Ragged
from ..readers import Category, Reader
from ..space.encoded import Encoded, Mix
from ..space.space import Space
from . import distributed
from .objective import Batch, Objective
from .softmax import cross_entropy, sampled

# B rows, D dimension, K known things, C candidates

MANY = 20_000  # candidates that are all scored for each row at once


class Match(Objective):
    """Matching a query with its target among candidates, by the score of the space.

    - `candidates: all`: among all known ids of the target: softmax classification, or tagging with `loss: sigmoid`.
    - `candidates: batch`: among the targets of the batch, both ways: InfoNCE (van den Oord et al. 2018, CLIP) or SigLIP
      (Zhai et al. 2023). Row i and row j match too if their targets or their queries are equal, or their cells of
      `positives_by`; the loss of a query is then the mean over all of its targets (Khosla et al. 2020). Several
      captions or tags of a cell are targets one by one.
    - `candidates: 512`: among so many ids drawn by their frequency in the training rows, with the logQ correction
      (Bengio and Senecal 2008): a sampled softmax that never touches the rest of a large table.

    Args:
        query: column of what asks.
        target: column of what is to be found.
        candidates: `all`, `batch` or a number of samples.
        loss: `softmax`: one of the candidates is right. `sigmoid`: each is right or wrong on its own.
        positives_by: further column; rows with equal cells there match each other (`candidates: batch` only).
        head: hidden layers of a network between the vector and the answer. The target then is no point of the space.
        weight: in the sum of all objectives.
    """

    def __init__(
        self,
        query: str,
        target: str,
        candidates: Literal["all", "batch"] | int = "batch",
        loss: Literal["softmax", "sigmoid"] = "softmax",
        positives_by: str | None = None,
        head: list[int] | None = None,
        weight: float = 1.0,
    ) -> None:
        super().__init__()
        name = f"Match({query}, {target})"
        if head and candidates != "all":
            raise UsageError(name, "a network between the vector and the answer needs `candidates: all`", "write that")
        if positives_by and candidates != "batch":
            raise UsageError(
                name, "`positives_by` makes further rows of a batch match", "add `candidates: batch`, or leave it out"
            )
        if isinstance(candidates, int) and candidates < 1:
            raise UsageError(name, f"{candidates} candidates are none", "give a number above 0, or all, or batch")
        self.query, self.target, self.candidates, self.loss = query, target, candidates, loss
        self.positives_by, self.head, self.weight = positives_by, list(head or []), weight
        self.own = {target: Category()} if head else {}
        self.uses_score = not head
        self.supports_mixup = not isinstance(candidates, int)

    def readers(self) -> dict[str, Reader]:
        """The reader of the target where that is an answer and no point of the space."""
        return dict(self.own)

    def columns(self) -> list[str]:
        """The query, and the target where its vectors are taken from the batch."""
        return [self.query] if self.candidates != "batch" else [self.query, self.target]

    def piece_columns(self) -> set[str]:
        """The target of the batch: several captions or tags of a cell are targets one by one."""
        return {self.target} if self.candidates == "batch" else set()

    def key_columns(self) -> set[str]:
        """The column of `positives_by`."""
        return {self.positives_by} if self.positives_by else set()

    @property
    def name(self) -> str:
        """The query and the target."""
        return f"{self.query}_{self.target}"

    def _ids(self, space: Space) -> Category:
        reader = self.own[self.target] if self.own else space.reader(self.target)
        if not isinstance(reader, Category):
            raise UsageError(
                f"Match({self.query}, {self.target})",
                f"`candidates: {self.candidates}` needs a column of ids",
                f"read {self.target} with EmbeddingBag(Category), or use `candidates: batch`",
            )
        return reader

    def build(self, space: Space) -> None:
        """Make the scale of the scores, and the network or the frequencies where there are such."""
        if self.candidates == "batch":
            size = 1
        else:
            size = self._ids(space).size
            if self.candidates == "all" and size > MANY and (self.head or self.loss == "sigmoid"):
                self._refuse(f"{size} candidates are too many to score for each row")
            if not size:
                raise UsageError(self.target, "no training row has such a cell", "check the column and the split")
        if self.head:
            self.network = make_mlp(space.dim, self.head, size)
            return
        # CLIP's temperature of 0.07, SigLIP's of 0.1 and its bias, for scores of -1 to 1; others have their own scale.
        softmax = self.loss == "softmax"
        start = math.log(1 / 0.07 if softmax else 10.0) if space.metric == "cosine" else 0.0
        self.scale = nn.Parameter(torch.tensor(start))
        if not softmax:
            self.bias = nn.Parameter(torch.tensor(-10.0 if self.candidates == "batch" else -math.log(size + 1.0)))
        if isinstance(self.candidates, int):
            counts = torch.tensor(self._ids(space).counts, dtype=torch.float64)
            self.register_buffer("shares", counts / counts.sum(), persistent=False)
            self.register_buffer("rising", (counts / counts.sum()).cumsum(0), persistent=False)

    @property
    def factor(self) -> Tensor:
        """What scores are multiplied by; it stays within [1/100, 100], as in CLIP."""
        return self.scale.clamp(-math.log(100), math.log(100)).exp()

    def logits(self, scores: Tensor) -> Tensor:
        """Scores of the space -> logits."""
        scaled = scores * self.factor
        return scaled + self.bias if self.loss == "sigmoid" else scaled

    def forward(self, encoded: dict[str, Encoded], batch: Batch, space: Space, dim: int | None = None) -> Tensor:
        """The loss; see `Objective.forward`."""
        if self.head:
            query = encoded[self.query]
            return self._among(self.network(query.z), query, batch[self.target])
        work = self._batch if self.candidates == "batch" else self._all if self.candidates == "all" else self._sampled
        return work(encoded, batch, space, dim)

    # -- among all ----------------------------------------------------------------------------------------------------

    def _all(self, z: dict[str, Encoded], batch: Batch, space: Space, dim: int | None) -> Tensor:
        query, target, known = z[self.query], batch[self.target], space.vocabulary_vectors(self.target)
        if self.loss == "softmax" and not query.mix and int(target.counts.max() if len(target) else 0) < 2:
            return self._exact(query, target, known, space, dim)
        if len(known) > MANY:
            self._refuse(f"{len(known)} candidates are too many where a row is mixed or has several targets")
        logits = self.logits(space.score(query.z, known, dim))  # (B, K)
        return self._among(logits, query, target)

    def _refuse(self, wrong: str) -> NoReturn:
        fix = "use a number of samples, such as `candidates: 512`"
        raise UsageError(f"Match({self.query}, {self.target})", wrong, fix)

    def _exact(self, query: Encoded, target: Ragged, known: Tensor, space: Space, dim: int | None) -> Tensor:
        """The loss where each row has one target at most: the matrix of scores (B, K) need not be there."""
        fits = (target.values < len(known)) & query.present[target.rows]
        a, b = space.score_factors(query.z[target.rows], known, dim)
        weights = distributed.weights(fits.to(a.dtype))
        return cross_entropy(a * self.factor, b, target.values.clamp(max=len(known) - 1), weights)

    def _among(self, logits: Tensor, query: Encoded, target: Ragged) -> Tensor:
        """The loss of logits (B, K) where each row's right ones are the known ids of its target."""
        known = logits.shape[1]
        right = logits.new_zeros(len(logits), known + 1)
        right[target.rows, target.values] = 1.0
        right = query.mix(right[:, :known]) if query.mix else right[:, :known]
        counts = right.sum(1)
        if self.loss == "sigmoid":
            losses = F.binary_cross_entropy_with_logits(logits, right, reduction="none").sum(1)
        else:
            losses = -(logits.log_softmax(1) * right).sum(1) / torch.where(counts > 0, counts, 1)
        return distributed.mean(losses, query.present & (counts > 0))

    # -- among samples ------------------------------------------------------------------------------------------------

    def _sampled(self, z: dict[str, Encoded], batch: Batch, space: Space, dim: int | None) -> Tensor:
        query, target = z[self.query], batch[self.target]
        shares = cast(Tensor, self.shares)
        known = len(shares)
        fits = (target.values < known) & query.present[target.rows]
        ids = target.values.clamp(max=known - 1)
        asks = query.z[target.rows]  # (P, D): each id of a cell is a target of its own
        drawn = self._draw()
        # One gather for both, and so one gradient of rows: several would be put together first.
        both = space.embed_ids(self.target, torch.cat([ids, drawn]))  # (P + C, D)
        hit = drawn == ids[:, None]
        weights = fits / target.counts[target.rows]
        expected = shares[drawn] * len(drawn)
        if self.loss == "softmax":
            a, b = space.score_factors(asks, both, dim)
            right, others = b.tensor_split([len(ids)])
            counted = distributed.weights(weights.to(a.dtype))
            return sampled(a * self.factor, right, others, expected.log().to(a.dtype), hit, counted)
        # Each drawn one stands for 1 / (n q) of its kind, so that the sum is that over the whole table in the mean.
        right, others = both.tensor_split([len(ids)])
        own = self.logits(space.paired_score(asks, right, dim))  # (P,)
        wrong = F.softplus(self.logits(space.score(asks, others, dim))) / expected.to(own.dtype)  # (P, C)
        return distributed.mean(F.softplus(-own) + wrong.masked_fill(hit, 0).sum(1), weights)

    def _draw(self) -> Tensor:
        """So many ids as there are candidates, with replacement, by their frequency."""
        rising = cast(Tensor, self.rising)
        chance = torch.rand(int(self.candidates), dtype=rising.dtype, device=rising.device)
        return torch.searchsorted(rising, chance).clamp(max=len(rising) - 1)

    # -- among the batch ----------------------------------------------------------------------------------------------

    def _batch(self, z: dict[str, Encoded], batch: Batch, space: Space, dim: int | None) -> Tensor:
        query, target = z[self.query], z[self.target]
        rows = torch.arange(len(query.z), device=query.z.device)
        if target.pieces is not None:
            t, t_rows, t_there = target.pieces, batch[self.target].rows, torch.ones_like(batch[self.target].rows).bool()
            t_keys = cast(Tensor, batch[self.target].piece_keys)
        else:
            t, t_rows, t_there, t_keys = target.z, rows, target.present, target.row_keys
        all_q, first = distributed.gather(query.z)
        there = {"q": query.present, "t": t_there, "qk": query.row_keys, "tk": t_keys, "tr": t_rows + first}
        if self.positives_by:
            there["label"] = batch[self.positives_by].row_keys
        (all_t, t_first), all_ = (
            distributed.gather(t),
            {name: distributed.gather(part)[0] for name, part in there.items()},
        )
        match = self._matches(all_, target.pieces is not None).to(t.dtype)  # (B of all, P of all)
        match = self._mixed(match, query, target, first)
        forth = slice(first, first + len(rows))
        back = slice(t_first, t_first + len(t))
        logits = self.logits(space.score(query.z, all_t, dim))
        if self.loss == "sigmoid":
            return self._sigmoid(logits, match[forth], query.present, all_["t"])
        # In one process both ways are of the same scores.
        answers = logits.T if all_t is t else self.logits(space.score(t, all_q, dim))
        one = self._softmax(logits, match[forth], query.present, all_["t"])
        two = self._softmax(answers, match.T[back], t_there, all_["q"])
        return (one + two) / 2

    @staticmethod
    def _mixed(match: Tensor, query: Encoded, target: Encoded, first: int) -> Tensor:
        """The shares of matches (B, P) where the rows of a column are mixed."""
        for code in (query, target):
            if code.mix:
                partner, share = distributed.gather(code.mix.partner + first)[0], distributed.gather(code.mix.share)[0]
                whole = Mix(partner, share)
                match = whole(match) if code is query else whole(match.T).T
        return match

    @staticmethod
    def _matches(all_: dict[str, Tensor], pieces: bool) -> Tensor:
        """(B, P) whether each query and each target belong together; without `pieces` there is a target a row."""
        rows = all_["tr"]
        count = len(all_["q"])
        match = all_["qk"][:, None] == all_["qk"][rows][None]
        # A target equal to any of a row's own targets is that row's too.
        equal = all_["tk"][:, None] == all_["tk"][None]
        if pieces:
            equal = equal.new_zeros(count, len(rows), dtype=torch.int32).index_add_(0, rows, equal.int()) > 0
        match = match | equal
        if "label" in all_:
            match = match | (all_["label"][:, None] == all_["label"][rows][None])
        return match & all_["q"][:, None] & all_["t"][None]

    @staticmethod
    def _softmax(logits: Tensor, match: Tensor, asks: Tensor, there: Tensor) -> Tensor:
        counts = match.sum(1)
        # Absent targets leave the sum; a row that sees none keeps all, for it does not count anyway.
        absent = logits.new_zeros(len(there)).masked_fill(~there, torch.finfo(logits.dtype).min)
        losses = -((logits + absent).log_softmax(1) * match).sum(1) / torch.where(counts > 0, counts, 1)
        return distributed.mean(losses, asks & (counts > 0))

    @staticmethod
    def _sigmoid(logits: Tensor, match: Tensor, asks: Tensor, there: Tensor) -> Tensor:
        losses = (match * F.softplus(-logits) + (1 - match) * F.softplus(logits)) * there[None]
        return distributed.mean(losses.sum(1), asks & (match > 0).any(1))

    def predict(self, z: Tensor) -> NDArray[Any]:
        """The likeliest id for each of the vectors z (N, D), where a network stands between them; else search.

        Raises:
            UsageError: the target is a point of the space.
        """
        if not self.head:
            return super().predict(z)
        with torch.inference_mode():
            best = self.network(z).argmax(1)
        labels = self.own[self.target].vocabulary()
        return np.array([labels[one] for one in best.tolist()], dtype=object)
