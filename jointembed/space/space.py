"""The space: encoders that project columns into it, objectives that shape it, and the one score that ranks in it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute

from ..config import Configurable
from ..data.mixup import mixed
from ..encoders import CausalTransformer, EmbeddingBag, Encoder, to_float32
from ..encoders.fusion import Encoded, Fusion
from ..errors import UsageError, did_you_mean
from ..objectives import Match, Objective
from ..ragged import Ragged
from ..readers import Preprocess, Reader
from ..training import optim
from ..training.joint_embedding import Training
from . import checkpoint as saved
from . import embed as embedding
from .columns import declared
from .inference import EmbedOptions
from .score import Metric, factors, pairs, score

# B rows, P pieces, W width, D dimension, K known things, N vectors

Vectors = NDArray[np.float32]


class JointEmbedding(Configurable, Training):
    """One space for several modalities.

    Args:
        dim: D, the number of dimensions. The fourth root of the number of values is a start.
        encoders: a name and what encodes it; a name is a column of the table, unless `columns` says otherwise.
        objectives: what it is trained for.
        columns: columns that share an encoder: `{en: text, de: text}`.
        pools: columns whose pieces are read in their order: `{history: CausalTransformer}`.
        fused: columns that are made of others: `{home: [words, facts, place]}`.
        mix: hidden layers of the network that fuses.
        drop: share of training rows in which a part of a fused column is left out: `{film: 0.3}`.
        mixup: in training, mix the rows of these columns two by two, by shares of Beta(a, a), and their targets with
            them: `{audio: 0.4}` (Zhang et al. 2018).
        dims: nested dimensions (Kusupati et al. 2022): each objective averages over these prefixes of the vectors.
        metric: how near two vectors are: `cosine`; `euclidean` (minus the squared distance); or `dot`, the product
            of vectors whose length counts: what is popular may be long.
        chunk: recompute encoders in the backward pass, so many rows at a time: a large batch in little memory, exactly.
        lr: learning rate of the networks.
        rows_lr: learning rate of large tables with sparse gradients.
        weight_decay: of the networks.
        warmup: share of the steps in which the learning rate rises; it falls to 0 along a cosine afterwards.
        bf16: train the encoders in bfloat16; by default where the processor computes it natively.
        note: a sentence about the model that whoever uses it should see.

    >>> from jointembed import Category, EmbeddingBag, Match
    >>> encoders = {"film": EmbeddingBag(Category()), "genre": EmbeddingBag(Category())}
    >>> space = JointEmbedding(8, encoders, [Match("film", "genre", "all")])
    >>> space.score(torch.eye(8)[:1], torch.eye(8)[:2]).tolist()
    [[1.0, 0.0]]
    """

    def __init__(
        self,
        dim: int,
        encoders: dict[str, Encoder],
        objectives: list[Objective],
        columns: dict[str, str] | None = None,
        pools: dict[str, CausalTransformer] | None = None,
        fused: dict[str, list[str]] | None = None,
        mix: list[int] | None = None,
        drop: dict[str, float] | None = None,
        mixup: dict[str, float] | None = None,
        dims: list[int] | None = None,
        metric: Metric = "cosine",
        chunk: int = 0,
        lr: float = 1e-3,
        rows_lr: float = 0.05,
        weight_decay: float = 0.01,
        warmup: float = 0.05,
        bf16: bool | None = None,
        note: str = "",
    ) -> None:
        super().__init__()
        self.dim, self.metric, self.chunk, self.note = dim, metric, chunk, note
        self.dims = list(dims or [])
        self.lr, self.rows_lr, self.weight_decay, self.warmup = lr, rows_lr, weight_decay, warmup
        self.bf16 = optim.native_bf16() if bf16 is None else bf16
        self.encoders = nn.ModuleDict(encoders)
        self.objectives = nn.ModuleList(objectives)
        self.pools = nn.ModuleDict(pools or {})
        self.fused = {name: list(parts) for name, parts in (fused or {}).items()}
        self.mix, self.drop = [64] if mix is None else list(mix), dict(drop or {})
        self.mixup = dict(mixup or {})
        self.columns = declared(encoders, objectives, dict(columns or {}), self.fused)
        self.projections = nn.ModuleDict()
        self.fusions = nn.ModuleDict()
        self.built = False
        if self.dim < 1 or any(not 0 < prefix <= self.dim for prefix in self.dims):
            raise UsageError("dim", f"{self.dim} with prefixes {self.dims} is no space", "use prefixes of 1 to dim")

    # -- making it ----------------------------------------------------------------------------------------------------

    def encoder(self, column: str) -> Encoder:
        """The encoder of a column.

        Raises:
            UsageError: the model has no such column, or it is made of others.
        """
        if column in self.fused:
            raise UsageError(column, "it is made of " + ", ".join(self.fused[column]), "give a row with these columns")
        if column not in self.columns:
            for objective in self.objectives:
                if column in cast(Objective, objective).readers():
                    raise UsageError(
                        column,
                        "it is an answer of this model and no point of its space",
                        "use `JointEmbedding.answer`, or `jointembed evaluate`",
                    )
            raise UsageError(column, "the model has no such column", did_you_mean(column, [*self.columns, *self.fused]))
        return cast(Encoder, self.encoders[self.columns[column]])

    def reader(self, column: str) -> Reader:
        """The reader of a column; see `encoder` for what is raised."""
        return self.encoder(column).reader

    def readers(self) -> dict[str, tuple[Reader, list[str]]]:
        """All readers by a name of their own, each with the columns that it reads and is fitted on."""
        found = {}
        for name, encoder in self.encoders.items():
            own = [column for column, encoder_name in self.columns.items() if encoder_name == name]
            found[name] = (cast(Encoder, encoder).reader, own)
        for number, objective in enumerate(self.objectives):
            for column, reader in cast(Objective, objective).readers().items():
                found[f"objective.{number}.{column}"] = (reader, [column])
        return found

    def keyed(self) -> set[str]:
        """Columns of which only the keys are needed: those of `same`."""
        return {objective.same for objective in self.objectives if isinstance(objective, Match) and objective.same}

    def configure_model(self) -> None:
        """Make all parameters, at the sizes that the fitted readers know; called once, by Lightning or by `load`."""
        if self.built:
            return
        for name, encoder in self.encoders.items():
            assert isinstance(encoder, Encoder)
            encoder.build(self.dim)
            linear = encoder.width != self.dim
            self.projections[name] = nn.Linear(encoder.width, self.dim) if linear else nn.Identity()
        for pool in self.pools.values():
            cast(CausalTransformer, pool).build(self.dim)
        for name, parts in self.fused.items():
            self.fusions[name] = Fusion(self.dim, parts, self.mix, self.drop)
        for objective in self.objectives:
            cast(Objective, objective).build(self)
        self.built = True

    # -- codes and scores ---------------------------------------------------------------------------------------------

    def _targets(self) -> set[str]:
        return {one.target for one in self.objectives if isinstance(one, Match) and one.candidates == "batch"}

    def forward(self, batch: dict[str, Ragged]) -> dict[str, Encoded]:
        """The codes of every column of a batch; every declared one, also where no row has it."""
        codes: dict[str, Encoded] = {}
        targets = self._targets()
        for column, name in self.columns.items():
            encoder, project = cast(Encoder, self.encoders[name]), self.projections[name]
            x, mix, history = batch[column], None, None
            if self.training and column in self.mixup:
                x, mix = mixed(x, self.mixup[column])
            with torch.autocast(x.row_keys.device.type, torch.bfloat16, enabled=self.training and self.bf16):
                if column in self.pools:
                    pool = cast(CausalTransformer, self.pools[column])
                    seen = pool.seen(x)
                    states = to_float32(pool.states(project(encoder.pieces(seen)), seen))
                    z, pieces, history = pool.last(states, seen), None, (states, seen)
                elif x.piece_keys is not None and column in targets:
                    h = encoder.pieces(x)
                    z, pieces = to_float32(project(encoder.pool(h, x))), to_float32(project(h))
                else:
                    z, pieces = to_float32(project(self._pooled(encoder, x))), None
            codes[column] = Encoded(z, x.present, pieces, mix, history)
        for column, parts in self.fused.items():
            codes[column] = self.fusions[column]([codes[part] for part in parts])
        return codes

    def _pooled(self, encoder: Encoder, x: Ragged) -> Tensor:
        if not (self.chunk and torch.is_grad_enabled()):
            return cast(Tensor, encoder(x))
        chunks = torch.arange(len(x), device=x.row_keys.device).split(self.chunk)  # type: ignore[no-untyped-call]
        return torch.cat([cast(Tensor, recompute(encoder, x[rows], use_reentrant=False)) for rows in chunks])

    def keys(self, column: str, batch: dict[str, Ragged]) -> Tensor:
        """(B,) keys of a column: equal things have equal ones, also of a fused column."""
        if column not in self.fused:
            return batch[column].row_keys
        keys = [batch[part].row_keys for part in self.fused[column]]
        mixed = keys[0]
        for key in keys[1:]:
            mixed = mixed * 1_000_003 + key
        return mixed

    def known(self, column: str) -> Tensor:
        """The vectors (K, D) of all ids that the column knows."""
        encoder = self.encoder(column)
        if not isinstance(encoder, EmbeddingBag):
            raise UsageError(
                column,
                "what it may hold cannot be counted",
                "encode it with EmbeddingBag(Category), or use `candidates: batch`",
            )
        return cast(Tensor, self.projections[self.columns[column]](encoder.known))

    def look(self, column: str, ids: Tensor) -> Tensor:
        """The vectors (N, D) of known ids (N,), without touching the rest of the table."""
        encoder = cast(EmbeddingBag, self.encoder(column))
        order = torch.arange(len(ids), device=ids.device)
        return cast(Tensor, self.projections[self.columns[column]](encoder.pieces(Ragged(ids, order, ids))))

    def score(self, a: Tensor, b: Tensor, dim: int | None = None) -> Tensor:
        """How near each of a (N, D) is to each of b (M, D), as (N, M): more is nearer.

        The cosine, the product, or minus the squared distance; of the first `dim` dimensions only, if given.
        """
        return score(a, b, self.metric, dim)

    def factors(self, a: Tensor, b: Tensor, dim: int | None = None) -> tuple[Tensor, Tensor]:
        """Two matrices (N, E), (M, E) whose product is the score, apart from a number for each row of a (N, D)."""
        return factors(a, b, self.metric, dim)

    def pairs(self, a: Tensor, b: Tensor, dim: int | None = None) -> Tensor:
        """How near each of a (N, D) is to the one of b (N, D) in its place, as (N,)."""
        return pairs(a, b, self.metric, dim)

    # -- keeping ------------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put what makes this model into its checkpoint: its description and what its readers know."""
        checkpoint[saved.KEY] = saved.card(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the readers from the checkpoint and build at their sizes, unless that has been done."""
        saved.restore(self, checkpoint)

    @classmethod
    def load(cls, path: str | Path, trust: Collection[str] = ()) -> JointEmbedding:
        """The model of a checkpoint, or of a run folder (its best), ready to embed; it needs nothing but that file.

        Args:
            path: a .ckpt file or a folder that `fit` wrote.
            trust: packages whose encoders and readers may be imported.

        Raises:
            UsageError: there is no such model.
            UnsafeError: it asks for classes that are not trusted.
            DamagedError: it is broken.
        """
        return saved.load(path, trust)

    def save(self, path: str | Path) -> None:
        """Write the model alone, without the state of its training, as a checkpoint that `load` reads."""
        saved.write(Path(path), {"state_dict": self.state_dict(), saved.KEY: saved.card(self)})

    @property
    def fingerprint(self) -> str:
        """What tells models apart that would give different vectors: weights, preprocessing, vocabulary, pooling."""
        return saved.fingerprint(self)

    # -- vectors ------------------------------------------------------------------------------------------------------

    def embed(
        self,
        column: str,
        cells: Sequence[Any],
        pieces: int | None = None,
        load: Preprocess | None = None,
        windows: int | None = None,
        bf16: bool = False,
    ) -> Vectors:
        """Cells of a column -> what is searched, (N, D) float32; unit vectors where the metric is cosine.

        The same cell gives the same bits, alone or among others: it is computed in batches of one shape, counted in
        pieces, and pooled in a fixed order. Of a sound all windows are taken, from its start to its end: a vector is
        their mean, and nothing is cut out at random.

        Args:
            column: of the model; for a fused one each cell is a row as a dict.
            cells: N cells, none missing.
            pieces: a batch; it belongs to the vectors' last bits, so leave it alone (see `inference.EmbedOptions`).
            load: what loads things instead of the reader, such as a store of loaded arrays.
            windows: of a long sound, at most so many, spread evenly over it; all of them if not given.
            bf16: compute the encoders in bfloat16, twice as fast where the processor can; the last bits differ.

        Raises:
            UsageError: a cell is missing or of the wrong kind, or the column does not exist.
        """
        return embedding.embed(self, column, cells, EmbedOptions(pieces, load, windows, bf16))

    @property
    def answers(self) -> set[str]:
        """The columns that the model answers by a network, and that are no points of its space."""
        return {name for one in self.objectives for name in cast(Objective, one).readers()}

    def answer(self, column: str, cells: Sequence[Any], target: str) -> NDArray[Any]:
        """What the model predicts of `target` for cells of a column, (N,): numbers, or labels, in the table's units.

        Raises:
            UsageError: the model was not trained to answer that; see `embed` for what else is raised.
        """
        for objective in cast("list[Objective]", self.objectives):
            if objective.query == column and target in objective.readers():
                z = embedding.embed(self, column, cells, EmbedOptions(raw=True))
                return objective.answer(torch.from_numpy(z).to(self.device))
        raise UsageError(target, f"the model does not answer it for {column}", did_you_mean(target, self.answers))
