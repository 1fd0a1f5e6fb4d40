"""The space: all that decides the vector of a cell, and the score that ranks vectors."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from .. import files
from ..arguments import Count, Dropout
from ..config import Configurable, from_config, to_config
from ..encoders import Encoder, SequenceEncoder, rows_in_batches
from ..encoders.fingerprint import compute_fingerprint
from ..encoders.fusion import Fusion
from ..errors import DamagedError, MismatchError, UsageError, did_you_mean
from ..ragged import Ragged
from ..readers import Preprocess, Reader
from ..values import missing, row_cell
from . import checkpoint
from .chunks import compute_in_chunks
from .column import Column
from .embed import blocks, embed_column, fuse, piece_vectors
from .encoded import Encoded
from .inference import EmbedOptions, PieceVectors, Precision, Vectors, threads
from .int8 import RangeRecorder, Ranges, quantize
from .named_modules import NamedModules
from .precision import fast_precisions
from .score import Metric, pair_scores, score, score_factors

# B rows, P pieces, D dimension, K ids of a vocabulary, N vectors


class Space(Configurable, nn.Module):
    """One vector space for several columns.

    A space holds everything that decides a vector, and nothing else: two spaces with the same `fingerprint` give the
    same vectors. How it is trained is up to `JointEmbedding`.

    Args:
        dim: D, the number of dimensions. The fourth root of the number of values is a start.
        encoders: a name and what encodes it; a name is a column of the table, unless `columns` says otherwise.
        columns: columns that share an encoder: `{en: text, de: text}`. An encoder named here is a column itself only
            if it is listed too: `{film: film, history: film}`.
        pools: columns whose pieces are read in their order: `{history: CausalTransformer}`.
        fusions: columns made of other columns: `{home: [words, facts, place]}`.
        fusion_hidden: hidden layers of the network that fuses; `[64]` if not given.
        modality_dropout: share of training rows in which a part of a fusion is left out: `{film: 0.3}`.
        metric: how near two vectors are: `cosine`; `euclidean` (minus the squared distance); or `dot`, the product
            of vectors whose length counts: popular items may have long vectors.

    >>> from jointembed import Category, EmbeddingBag
    >>> space = Space(8, {"film": EmbeddingBag(Category()), "genre": EmbeddingBag(Category())})
    >>> space.score(torch.eye(8)[:1], torch.eye(8)[:2]).tolist()
    [[1.0, 0.0]]
    """

    settings_name = "model"

    def __init__(
        self,
        dim: Count,
        encoders: dict[str, Encoder],
        columns: dict[str, str] | None = None,
        pools: dict[str, SequenceEncoder] | None = None,
        fusions: dict[str, list[str]] | None = None,
        fusion_hidden: list[Count] | None = None,
        modality_dropout: dict[str, Dropout] | None = None,
        metric: Metric = "cosine",
    ) -> None:
        super().__init__()
        self.dim, self.metric = dim, metric
        self.fusion_hidden = [64] if fusion_hidden is None else list(fusion_hidden)
        self.modality_dropout = dict(modality_dropout or {})
        self.fusions = {name: list(parts) for name, parts in (fusions or {}).items()}
        self.columns = _resolve_columns(encoders, columns or {}, self.fusions)
        self.encoders: NamedModules[Encoder] = NamedModules(encoders)
        self.pools: NamedModules[SequenceEncoder] = NamedModules(pools)
        self.projections: NamedModules[nn.Module] = NamedModules()
        self.fusion_networks: NamedModules[Fusion] = NamedModules()
        self.built = False
        self.description = ""
        self.predicted_columns: frozenset[str] = frozenset()  # targets of a model over this space, without vectors
        self._check()

    def _check(self) -> None:
        if not len(self.encoders):
            raise UsageError("model.encoders", "the model has none", "add an encoder for each column")
        if self.metric not in get_args(Metric):
            metrics = get_args(Metric)
            raise UsageError("metric", f"unknown metric {self.metric!r}", did_you_mean(self.metric, metrics))
        for name, parts in self.fusions.items():
            if name in self.columns:
                raise UsageError(f"fusions.{name}", f"{name} is a column with an encoder", "choose another name")
            if not parts:
                raise UsageError(f"fusions.{name}", "it has no parts", "list the columns that it is made of")
            check_names(f"fusions.{name}", parts, self.columns)
            if len(set(parts)) < len(parts):
                raise UsageError(f"fusions.{name}", f"it has a part twice: {', '.join(parts)}", "leave out one of them")
        check_names("pools", self.pools, self.columns)
        check_names(
            "modality_dropout", self.modality_dropout, {part for all_ in self.fusions.values() for part in all_}
        )

    # -- columns, encoders, readers -----------------------------------------------------------------------------------

    def encoder(self, column: str) -> Encoder:
        """The encoder of a column.

        Raises:
            UsageError: the space has no such column, or it is a fusion.
        """
        if column in self.columns:
            return self.encoders[self.columns[column]]
        if column in self.fusions:
            raise UsageError(
                column, "it is made of " + ", ".join(self.fusions[column]), "give a row with these columns"
            )
        if column in self.predicted_columns:
            raise UsageError(
                column,
                "the model predicts it, so it has no vectors",
                "use `JointEmbedding.predict`, or `jointembed evaluate`",
            )
        raise UsageError(column, "the model has no such column", did_you_mean(column, [*self.columns, *self.fusions]))

    def reader(self, column: str) -> Reader:
        """The reader of a column; see `encoder` for what is raised."""
        return self.encoder(column).reader.for_column(column)

    def readers(self) -> list[tuple[Reader, list[str]]]:
        """Each reader, with the columns that it reads and is fitted on."""
        readers: dict[int, tuple[Reader, list[str]]] = {}
        for column in self.columns:
            reader, own = self.encoder(column).reader, self.reader(column)
            # One that differs in a prompt learns as the same reader; one of images beside texts is another.
            reader = reader if type(own) is type(reader) else own
            readers.setdefault(id(reader), (reader, []))[1].append(column)
        return list(readers.values())

    def column(self, name: str) -> Column:
        """The path from the cells of a column to its vectors; see `encoder` for what is raised."""
        encoder = self.encoder(name)
        sequence = self.pools[name] if name in self.pools else None
        return Column(self.reader(name), encoder, self.projections[self.columns[name]], self.dim, sequence)

    def build(self) -> None:
        """Make all parameters, at the sizes that the fitted readers know; a second call changes nothing."""
        if self.built:
            return
        for name, encoder in self.encoders.items():
            encoder.build(self.dim)
            self.projections[name] = encoder.make_projection(self.dim)
        for _, pool in self.pools.items():
            pool.build(self.dim)
        for name, parts in self.fusions.items():
            dropout = [self.modality_dropout.get(part, 0.0) for part in parts]
            self.fusion_networks[name] = Fusion(self.dim, self.fusion_hidden, dropout)
        self.built = True

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        return next((parameter.device for parameter in self.parameters()), torch.device("cpu"))

    # -- vectors and scores -------------------------------------------------------------------------------------------

    def forward(self, batch: Mapping[str, Ragged], pieces: Collection[str] = (), chunk: int = 0) -> dict[str, Encoded]:
        """The vectors of every column of a batch, also of those that no row has.

        Under autocast the encoders compute in lower precision; their vectors, and the fusions, are in float32.

        Args:
            batch: the columns.
            pieces: columns whose pieces get a vector each besides that of their row.
            chunk: recompute the networks in the backward pass, for this many rows at a time; 0: keep all activations.
        """
        encoded = {name: self.column(name).encode(batch[name], name in pieces, chunk) for name in self.columns}
        with torch.autocast(self.device.type, enabled=False):
            for name, parts in self.fusions.items():
                encoded[name] = self._fuse(name, [encoded[part] for part in parts])
        return encoded

    def _fuse(self, name: str, parts: Sequence[Encoded]) -> Encoded:
        present = torch.stack([part.present for part in parts], 1)
        chunks, keys = parts[0].chunks, parts[0].row_keys
        z = compute_in_chunks(
            lambda rows: self.fusion_networks[name](torch.stack([part.z[rows] for part in parts], 1), present[rows]),
            len(present),
            chunks,
            present.device,
        )
        for part in parts[1:]:
            keys = keys * 1_000_003 + part.row_keys
        return Encoded(z, present.any(1), keys, chunks=chunks)

    def vocabulary_vectors(self, column: str) -> Tensor:
        """The vectors (K, D) of all ids that a column knows, in the order of its vocabulary.

        Raises:
            UsageError: the column has no vocabulary.
        """
        vectors = self.encoder(column).vocabulary_vectors()
        if vectors is None:
            raise UsageError(
                column,
                "it has no vocabulary whose vectors could be listed",
                "encode it with EmbeddingBag(Category), or use `candidates: batch`",
            )
        return self.column(column).project(vectors)

    def embed_ids(self, column: str, ids: Tensor) -> Tensor:
        """The vectors (N, D) of ids (N,) of a column's vocabulary, without touching the rest of its table."""
        order = torch.arange(len(ids), device=ids.device)
        column_of = self.column(column)
        return column_of.project(column_of.encoder.pieces(Ragged(ids, order, ids)))

    def score(self, a: Tensor, b: Tensor, dim: int | None = None) -> Tensor:
        """How near each of a (..., N, D) is to each of b (..., M, D), as (..., N, M): more is nearer.

        The cosine, the product, or minus the squared distance; of the first `dim` dimensions only, if given.
        """
        return score(a, b, self.metric, dim)

    def score_factors(self, a: Tensor, b: Tensor, dim: int | None = None) -> tuple[Tensor, Tensor]:
        """Two matrices (N, E), (M, E) whose product is the score, apart from a constant for each row of a (N, D)."""
        return score_factors(a, b, self.metric, dim)

    def pair_scores(self, a: Tensor, b: Tensor, rows: Tensor, columns: Tensor, dim: int | None = None) -> Tensor:
        """How near row `rows[i]` of a (N, D) is to row `columns[i]` of b (M, D), as (P,); `rows` are non-decreasing."""
        return pair_scores(a, b, rows, columns, self.metric, dim)

    # -- embedding ----------------------------------------------------------------------------------------------------

    def embed(
        self,
        column: str,
        cells: Sequence[Any],
        batch_size: int | None = None,
        load: Preprocess | None = None,
        piece_vectors: Mapping[Encoder, PieceVectors] | None = None,
        max_windows: int | None = None,
        precision: Precision = "float32",
        normalize: bool = True,
    ) -> Vectors:
        """Embed cells of a column, as (N, D) float32; unit vectors if the metric is cosine.

        The same cell gives the same bits, alone or among others: it is computed in batches of one shape, counted in
        pieces, and pooled in a fixed order. The vector of a sound is the mean over all of its windows, from its start
        to its end; nothing is cut out at random. A cell of unknown words or ids only has the vector of the unknown
        token, as in training; `reader(column).unknown(cell)` lists what is unknown.

        Args:
            column: of the space; the cells of a fusion are rows as dicts.
            cells: N cells, none missing.
            batch_size: pieces a batch. It affects the last bits of the vectors, so leave it alone; see `EmbedOptions`.
            load: loads elements instead of the reader, such as a store of loaded arrays.
            piece_vectors: for some encoders, what gives the vectors (P, W) of the pieces of an element.
            max_windows: of a long sound, at most this many windows, spread evenly over it; all if not given.
            precision: `float32`; `bfloat16`; or, for 8-bit integers, the ranges that `calibrate_int8` returns. Both are
                several times as fast where the processor multiplies them in hardware, and less exact. Only a CPU uses
                the ranges; another device computes in float32.
            normalize: give unit vectors if the metric is cosine.

        Raises:
            UsageError: a cell is missing or of the wrong kind, or the column does not exist.
        """
        options = EmbedOptions(batch_size, load, piece_vectors or {}, max_windows, precision, normalize)
        for number, cell in enumerate(cells):
            if missing(cell):
                raise UsageError(f"{column}, cell {number}", "it is missing, so it has no vector", "leave it out")
        z = np.concatenate([np.empty((0, self.dim), np.float32), *self._stream(column, cells, options)])
        if not np.isfinite(z).all():
            raise DamagedError(column, "the model gives vectors that are not finite", "use an earlier checkpoint")
        return z

    def derive_cells(self, column: str, vectors: Vectors) -> list[dict[str, Any]]:
        """The cells of other columns that can be read off vectors (N, D) of a column: a dict of each, mostly empty.

        Raises:
            UsageError: the space has no such column.
        """
        if column in self.fusions:
            return [{} for _ in vectors]
        encoder = self.encoder(column)
        with torch.inference_mode():
            batches = rows_in_batches(torch.tensor(vectors, device=self.device))
            return [cells for z in batches for cells in encoder.derive_cells(z)][: len(vectors)]

    def tag_probabilities(self, column: str, vectors: Vectors) -> dict[str, Vectors]:
        """The probability (N,) of each tag in vectors (N, D) of a column; none unless its encoder is a tagger."""
        if column in self.fusions:
            return {}
        encoder = self.encoder(column)
        with torch.inference_mode():
            batches = rows_in_batches(torch.tensor(vectors, device=self.device))
            parts = [encoder.tag_probabilities(z) for z in batches]
        return {tag: torch.cat([part[tag] for part in parts])[: len(vectors)].cpu().numpy() for tag in parts[0]}

    def embed_stream(
        self,
        column: str,
        cells: Iterable[Any],
        max_windows: int | None = None,
        precision: Precision = "float32",
        seconds: dict[str, float] | None = None,
    ) -> Iterator[Vectors]:
        """Embed cells, none missing, as they are drawn: some vectors (N, D) at a time, in the order of the cells.

        Cells are drawn in the thread that iterates, as they are needed: sounds one by one, and the next ones are read
        while a batch of windows, of whatever sounds, is computed.

        Args:
            column: of the space.
            cells: none missing.
            max_windows: see `embed`.
            precision: see `embed`.
            seconds: the time of each stage is added to it, summed over all threads.
        """
        return self._stream(column, cells, EmbedOptions(max_windows=max_windows, precision=precision, seconds=seconds))

    def embed_pieces(self, column: str, cells: Iterable[Any]) -> Iterator[Vectors]:
        """The vectors (P, W) that the encoder of a column gives the pieces of each cell, none missing, in their order.

        `embed` pools these and projects them into the space.
        """
        path = Column(self.reader(column), self.encoder(column), nn.Identity(), self.dim)  # may not be built yet
        options, training = EmbedOptions(), self.training
        self.eval()
        try:
            with threads(options, self.device) as pool:
                yield from piece_vectors(path, cells, options, self.device, pool)
        finally:
            self.train(training)

    def fast_precisions(self) -> list[str]:
        """What its device computes faster than float32: `bfloat16`, `int8`, the fastest first."""
        return fast_precisions(self.device)

    def calibrate_int8(
        self, column: str, cells: Sequence[Any], max_windows: int | None = None
    ) -> tuple[Vectors, Ranges | None]:
        """Embed a few example cells in float32, and measure the ranges with which `embed` computes in 8-bit integers.

        The ranges are None if the column is a fusion, or its encoder has no layers for 8-bit integers.

        Raises:
            UsageError: see `embed`.
        """
        if column in self.fusions:
            return self.embed(column, cells, max_windows=max_windows), None
        recorder = RangeRecorder()
        with recorder.record(self.encoder(column)):
            vectors = self.embed(column, cells, max_windows=max_windows)
        return vectors, recorder.ranges or None

    def _stream(self, column: str, cells: Iterable[Any], options: EmbedOptions) -> Iterator[Vectors]:
        if not self.built:
            raise UsageError("model", "it has not been trained", "fit it, or load it from a checkpoint")
        training = self.training
        self.eval()
        try:
            with threads(options, self.device) as pool:
                if column in self.fusions:
                    parts = self._embed_fusion(column, cells, options, pool)
                else:
                    path = self.column(column)
                    if not isinstance(options.precision, str) and self.device.type == "cpu":
                        path = replace(path, encoder=quantize(path.encoder, options.precision))
                    parts = embed_column(path, column, cells, options, self.device, pool)
                for z in parts:
                    if self.metric == "cosine" and options.normalize:
                        norms = np.sqrt((z.astype(np.float64) ** 2).sum(1, keepdims=True))
                        z = np.asarray(z / np.maximum(norms, 1e-30), np.float32)
                    yield z
        finally:
            self.train(training)

    def _embed_fusion(
        self, name: str, cells: Iterable[Any], options: EmbedOptions, pool: ThreadPoolExecutor
    ) -> Iterator[Vectors]:
        number = 0
        for block in blocks(cells):
            vectors, presence = [], []
            for part in self.fusions[name]:
                values = [row_cell(cell, part, self.reader(part).columns) for cell in block]
                present = np.array([not missing(value) for value in values])
                z = np.zeros((len(block), self.dim), np.float32)
                cells_there = [value for value, there in zip(values, present, strict=True) if there]
                if cells_there:
                    column = self.column(part)
                    z[present] = np.concatenate(
                        list(embed_column(column, part, cells_there, options, self.device, pool))
                    )
                vectors.append(z)
                presence.append(present)
            z, present = np.stack(vectors, 1), np.stack(presence, 1)
            if not present.any(1).all():
                raise UsageError(
                    f"{name}, cell {number + int(np.flatnonzero(~present.any(1))[0])}",
                    "none of its parts is there",
                    "give at least one of " + ", ".join(self.fusions[name]),
                )
            number += len(block)
            yield fuse(self.fusion_networks[name], z, present, options, self.device)

    def input_columns(self, column: str) -> list[str]:
        """The columns of a table that a column is made from: its own, those that its reader names, those of its parts.

        Raises:
            UsageError: the space has no such column.
        """
        parts = self.fusions.get(column) or [column]
        return [name for part in parts for name in self.reader(part).columns or [part]]

    def compose_cells(self, rows: Sequence[dict[str, Any]], *columns: str) -> None:
        """Put into rows the cells of columns that are made from others: dicts of the cells that the rows have.

        Raises:
            UsageError: the space has no such column.
        """
        for column in columns:
            names = self.input_columns(column)
            for row in rows if names != [column] else ():
                cell = row_cell(row, column, names)
                if cell:
                    row[column] = cell

    # -- saving -------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """What makes this space besides its weights, as plain data for a checkpoint."""
        return {
            "version": checkpoint.VERSION,
            "space": to_config(self),
            "readers": {name: encoder.reader.state() for name, encoder in self.encoders.items()},
            "description": self.description,
            "predicted_columns": sorted(self.predicted_columns),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Give the readers what a checkpoint holds of them, then build; nothing happens if that has been done.

        Raises:
            MismatchError: the checkpoint belongs to a space with other encoders.
        """
        if set(state["readers"]) != set(self.encoders):
            raise MismatchError(
                "checkpoint",
                f"it has the encoders {sorted(state['readers'])}, the recipe {sorted(self.encoders)}",
                "use the recipe that it was trained with",
            )
        if self.built:
            return
        for name, encoder in self.encoders.items():
            encoder.reader.restore(state["readers"][name])
        self.description = state["description"]
        self.predicted_columns = frozenset(state["predicted_columns"])
        self.build()

    @classmethod
    def load(cls, path: str | Path, trust: Collection[str] = ()) -> Space:
        """Load the space of a checkpoint, a run folder (its best) or an exported model, ready to embed.

        Args:
            path: a .ckpt file, or a folder that `fit` or `export` wrote.
            trust: packages whose encoders and readers may be imported.

        Raises:
            UsageError: the file does not exist.
            UnsafeError: it names classes that are not trusted.
            DamagedError: it is damaged.
        """
        file = files.checkpoint(path)
        content = checkpoint.read(file)
        with checkpoint.describing(file):
            state = content[checkpoint.KEY]
            space = from_config(state["space"], trust, str(file))
            if not isinstance(space, cls):
                raise MismatchError(
                    file, "it does not describe a space", "use a checkpoint that `jointembed fit` wrote"
                )
            space.restore(state)
        weights = {
            name.removeprefix("space."): value
            for name, value in content["state_dict"].items()
            if name.startswith("space.")
        }
        checkpoint.load_weights(space, weights, file)
        checkpoint.check_golden(space, content, file)
        return space.eval()

    def save(self, path: str | Path) -> None:
        """Write the space as a checkpoint that `load` reads."""
        weights = {f"space.{name}": value for name, value in self.state_dict().items()}
        checkpoint.write(Path(path), {"state_dict": weights, checkpoint.KEY: self.state()})

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides a vector: configuration, what the readers learned, weights; 16 hex digits."""
        state = self.state()
        return compute_fingerprint([state["space"], state["readers"]], self.state_dict())


def check_names(setting: str, names: Iterable[str], choices: Collection[str], kind: str = "column") -> None:
    """Check that a setting names columns, or other parts of the model, that exist.

    Raises:
        UsageError: a name does not exist.
    """
    for name in names:
        if name not in choices:
            raise UsageError(f"{setting}.{name}", f"the model has no such {kind}", did_you_mean(name, choices))


def _resolve_columns(
    encoders: Collection[str], shared: Mapping[str, str], fusions: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Each column that is encoded, and the name of its encoder."""
    for column, name in shared.items():
        if name not in encoders:
            raise UsageError(f"columns.{column}", f"the model has no encoder {name}", did_you_mean(name, encoders))
    parts = {part for parts in fusions.values() for part in parts}
    own = [name for name in encoders if name in shared or name in parts or name not in shared.values()]
    return {name: name for name in own} | dict(shared)
