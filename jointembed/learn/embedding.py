"""Cells -> vectors, the same bits for the same cell whatever stands beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import cells as table_cells
from ..errors import Damaged, Usage
from .encoders import Encoder
from .fusion import Code
from .ragged import Ragged
from .readers import Load

if TYPE_CHECKING:
    from .space import JointEmbedding

Vectors = NDArray[np.float32]
BLOCK = 256  # cells that are read before they are computed: it bounds the memory


@dataclass(frozen=True)
class How:
    """How vectors are computed: it decides their last bits.

    Args:
        pieces: in a batch; the last batch is filled up, so that all are of one shape.
        load: what loads things instead of the reader.
        windows: of a long thing, at most so many windows, spread evenly over it; all of them if not given.
        bf16: compute the encoders in bfloat16.
        times: the seconds of each stage are added to it.
    """

    pieces: int = 32
    load: Load | None = None
    windows: int | None = None
    bf16: bool = False
    times: dict[str, float] | None = None

    def took(self, stage: str, start: float) -> None:
        """Note how long a stage took that began at `start`."""
        if self.times is not None:
            self.times[stage] = self.times.get(stage, 0.0) + perf_counter() - start


def embed(model: JointEmbedding, column: str, cells: Sequence[Any], how: How) -> Vectors:
    """The vectors (N, D) of N cells that are searched; see `JointEmbedding.embed`."""
    if not model.built:
        raise Usage("model", "it has not been trained", "fit it, or load it from a checkpoint")
    for number, cell in enumerate(cells):
        if table_cells.missing(cell):
            raise Usage(f"{column}, cell {number}", "it is missing, so it has no vector", "leave it out")
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            z = _fused(model, column, cells, how) if column in model.fused else _raw(model, column, cells, how)
    finally:
        model.train(training)
    if not np.isfinite(z).all():
        raise Damaged(column, "the model gives vectors that are not finite", "use an earlier checkpoint of the run")
    if model.metric == "euclidean":
        return z
    norms = np.sqrt((z.astype(np.float64) ** 2).sum(1, keepdims=True))
    return np.asarray(z / np.maximum(norms, 1e-30), np.float32)


def _batches(count: int, size: int) -> Iterator[Tensor]:
    """Numbers 0 to count in batches of exactly `size`, the last one filled up with its own last number."""
    for start in range(0, count, size):
        yield torch.arange(start, start + size).clamp(max=count - 1)


def _raw(model: JointEmbedding, column: str, cells: Sequence[Any], how: How) -> Vectors:
    encoder = model.encoder(column)
    project = model.projections[model.columns[column]]
    out = np.empty((len(cells), model.dim), np.float32)
    for start in range(0, len(cells), BLOCK):
        begun = perf_counter()
        x = encoder.reader.encode(cells[start : start + BLOCK], load=how.load, most=how.windows)
        how.took("features", begun)
        begun = perf_counter()
        empty = (~x.present).nonzero()
        if len(empty):
            raise Usage(f"{column}, cell {start + int(empty[0])}", "nothing in it can be read", "leave it out")
        rows = _rows(encoder, x, _piecewise(encoder, x, how, model.device))
        for batch in _batches(len(rows), how.pieces):
            z = cast(Tensor, project(torch.from_numpy(rows)[batch].to(model.device)))
            fresh = slice(int(batch[0]), min(int(batch[0]) + how.pieces, len(rows)))
            out[start:][fresh] = z[: fresh.stop - fresh.start].float().cpu().numpy()
        how.took("network", begun)
    return out


def _piecewise(encoder: Encoder, x: Ragged, how: How, device: torch.device) -> Vectors:
    """The vector of each piece (P, W): pieces of one length meet in batches of one shape."""
    lengths = encoder.length(x)
    out = np.empty((len(x.rows), encoder.width), np.float32)
    for length in torch.unique(lengths):
        chosen = (lengths == length).nonzero()[:, 0]
        for batch in _batches(len(chosen), how.pieces):
            with torch.autocast(device.type, torch.bfloat16, enabled=how.bf16):
                h = encoder.pieces(x.take(chosen[batch]).to(device))
            out[chosen[batch].numpy()] = h.float().cpu().numpy()
    return out


def _rows(encoder: Encoder, x: Ragged, h: Vectors) -> Vectors:
    """One vector a row (B, W) from those of its pieces (P, W), row by row in the order of the pieces."""
    if type(encoder).pool is not Encoder.pool:
        device = next((part.device for part in encoder.parameters()), torch.device("cpu"))
        own = [x[torch.tensor([row])] for row in range(len(x))]
        spans = x.starts.tolist()
        parts = [torch.from_numpy(h[spans[row] : spans[row + 1]]).to(device) for row in range(len(x))]
        return np.concatenate(
            [encoder.pool(part, one.to(device)).float().cpu().numpy() for part, one in zip(parts, own, strict=True)]
        )
    if len(h) == len(x):
        return h
    sums = np.add.reduceat(h.astype(np.float64), x.starts[:-1].numpy(), axis=0)
    return np.asarray(sums / x.counts.numpy()[:, None], np.float32)


def _fused(model: JointEmbedding, column: str, cells: Sequence[Any], how: How) -> Vectors:
    parts: dict[str, tuple[Tensor, Tensor]] = {}
    for part in model.fused[column]:
        reads = model.reader(part).columns
        values = [cell_of(cell, part, reads) for cell in cells]
        there = np.array([not table_cells.missing(value) for value in values])
        z = np.zeros((len(cells), model.dim), np.float32)
        if there.any():
            z[there] = _raw(model, part, [value for value, known in zip(values, there, strict=True) if known], how)
        parts[part] = torch.from_numpy(z), torch.from_numpy(there)
    anything = torch.stack([there for _, there in parts.values()]).any(0)
    if not anything.all():
        raise Usage(
            f"{column}, cell {int((~anything).nonzero()[0])}",
            "none of its parts is there",
            "give at least one of " + ", ".join(model.fused[column]),
        )
    out = np.empty((len(cells), model.dim), np.float32)
    for batch in _batches(len(cells), how.pieces):
        codes = [Code(z[batch].to(model.device), there[batch].to(model.device)) for z, there in parts.values()]
        out[batch.numpy()] = model.fusions[column](codes).z.float().cpu().numpy()
    return out


def cell_of(row: Any, column: str, reads: Sequence[str] = ()) -> Any:
    """The cell of a column in a row (a dict); for a reader of several columns, a dict of those that are there."""
    if not isinstance(row, dict):
        raise Usage(column, f"{type(row).__name__} is no row", 'give a dict of columns, or JSON like {"words": "..."}')
    if not reads:
        return row.get(column)
    found = {name: row[name] for name in reads if not table_cells.missing(row.get(name))}
    return found or None
