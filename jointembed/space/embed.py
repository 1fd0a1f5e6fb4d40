"""Cells -> vectors, the same bits for the same cell whatever stands beside it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from .. import values as table_cells
from ..encoders import Encoder
from ..encoders.fusion import Encoded
from ..errors import DamagedError, UsageError
from ..ragged import Ragged
from .audio_windows import windowed
from .inference import PIECES, EmbedOptions, Vectors, batches, network, threads

if TYPE_CHECKING:
    from ..encoders import CausalTransformer
    from .space import JointEmbedding

BLOCK = 256  # cells that are read before they are computed: it bounds the memory


def embed(model: JointEmbedding, column: str, cells: Sequence[Any], how: EmbedOptions) -> Vectors:
    """The vectors (N, D) of N cells that are searched; see `JointEmbedding.embed`."""
    for number, cell in enumerate(cells):
        if table_cells.missing(cell):
            raise UsageError(f"{column}, cell {number}", "it is missing, so it has no vector", "leave it out")
    z = np.concatenate([np.empty((0, model.dim), np.float32), *stream(model, column, cells, how)])
    if not np.isfinite(z).all():
        raise DamagedError(
            column, "the model gives vectors that are not finite", "use an earlier checkpoint of the run"
        )
    return z


def stream(model: JointEmbedding, column: str, cells: Iterable[Any], how: EmbedOptions) -> Iterator[Vectors]:
    """The vectors of cells, none missing, in their order, some (N, D) at a time.

    Cells are drawn in the thread that iterates, as they are needed: sounds one by one, and the next ones are read while
    one batch of windows, of whatever sounds, is computed.
    """
    if not model.built:
        raise UsageError("model", "it has not been trained", "fit it, or load it from a checkpoint")
    training = model.training
    model.eval()
    try:
        with threads(how, model.device) as pool:
            for z in (_fused if column in model.fused else _raw)(model, column, cells, how, pool):
                if model.metric == "cosine" and not how.raw:
                    norms = np.sqrt((z.astype(np.float64) ** 2).sum(1, keepdims=True))
                    z = np.asarray(z / np.maximum(norms, 1e-30), np.float32)
                yield z
    finally:
        model.train(training)


def _raw(
    model: JointEmbedding, column: str, cells: Iterable[Any], how: EmbedOptions, pool: ThreadPoolExecutor
) -> Iterator[Vectors]:
    encoder = model.encoder(column)
    number = 0
    for x, h in (windowed if encoder.reader.windowed else _encoded)(encoder, cells, how, model.device, pool):
        empty = (~x.present).nonzero()
        if len(empty):
            raise UsageError(f"{column}, cell {number + int(empty[0])}", "nothing in it can be read", "leave it out")
        number += len(x)
        begun = perf_counter()
        z = (
            _read(model, column, x, h, how)
            if column in model.pools
            else _projected(model, column, _rows(encoder, x, h), how)
        )
        how.took("network", begun)
        yield z


def _blocks(cells: Iterable[Any]) -> Iterator[list[Any]]:
    source = iter(cells)
    while block := list(itertools.islice(source, BLOCK)):
        yield block


def _encoded(
    encoder: Encoder, cells: Iterable[Any], how: EmbedOptions, device: torch.device, pool: ThreadPoolExecutor
) -> Iterator[tuple[Ragged, Vectors]]:
    """Cells -> their pieces, and the vectors of these, a block of cells at a time."""
    for block in _blocks(cells):
        begun = perf_counter()
        x = encoder.reader.encode(block, preprocess=how.load)
        how.took("features", begun)
        yield x, _piecewise(encoder, x, how, device, pool)


def _projected(model: JointEmbedding, column: str, rows: Vectors, how: EmbedOptions) -> Vectors:
    """Vectors of rows (N, W) -> (N, D) in the space."""
    project = model.projections[model.columns[column]]
    out = np.empty((len(rows), model.dim), np.float32)
    with torch.inference_mode():
        for batch in batches(len(rows), how.pieces or PIECES):
            out[batch.numpy()] = project(torch.from_numpy(rows)[batch].to(model.device)).float().cpu().numpy()
    return out


def _read(model: JointEmbedding, column: str, x: Ragged, h: Vectors, how: EmbedOptions) -> Vectors:
    """The vectors (N, D) of rows whose pieces are read in their order: rows of like lengths in batches of one shape."""
    pool = cast("CausalTransformer", model.pools[column])
    x = Ragged(torch.from_numpy(_projected(model, column, h, how)), x.rows, x.row_keys)
    out = np.empty((len(x), model.dim), np.float32)
    steps = pool.steps(x)
    with torch.inference_mode():
        for length in torch.unique(steps):
            chosen = (steps == length).nonzero()[:, 0]
            for batch in batches(len(chosen), how.pieces or PIECES):
                seen = pool.seen(x[chosen[batch]]).to(model.device)
                out[chosen[batch].numpy()] = pool.last(pool.states(seen.values, seen), seen).float().cpu().numpy()
    return out


def _piecewise(
    encoder: Encoder, x: Ragged, how: EmbedOptions, device: torch.device, pool: ThreadPoolExecutor
) -> Vectors:
    """The vector of each piece (P, W): pieces of one length meet in batches of one shape."""
    lengths = encoder.length(x)
    out = np.empty((len(x.rows), encoder.width), np.float32)
    groups = [(lengths == length).nonzero()[:, 0] for length in torch.unique(lengths)]
    parts = [chosen[batch] for chosen in groups for batch in batches(len(chosen), how.batch(encoder, device))]
    vectors = pool.map(lambda one: network(encoder, x.take(one), how, device), parts)
    for batch, h in zip(parts, vectors, strict=True):
        out[batch.numpy()] = h
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


def _fused(
    model: JointEmbedding, column: str, cells: Iterable[Any], how: EmbedOptions, pool: ThreadPoolExecutor
) -> Iterator[Vectors]:
    number = 0
    for block in _blocks(cells):
        parts: dict[str, tuple[Tensor, Tensor]] = {}
        for part in model.fused[column]:
            reads = model.reader(part).columns
            values = [cell_of(cell, part, reads) for cell in block]
            there = np.array([not table_cells.missing(value) for value in values])
            z = np.zeros((len(block), model.dim), np.float32)
            known = [value for value, known in zip(values, there, strict=True) if known]
            if known:
                z[there] = np.concatenate(list(_raw(model, part, known, how, pool)))
            parts[part] = torch.from_numpy(z), torch.from_numpy(there)
        anything = torch.stack([there for _, there in parts.values()]).any(0)
        if not anything.all():
            raise UsageError(
                f"{column}, cell {number + int((~anything).nonzero()[0])}",
                "none of its parts is there",
                "give at least one of " + ", ".join(model.fused[column]),
            )
        number += len(block)
        out = np.empty((len(block), model.dim), np.float32)
        with torch.inference_mode():
            for batch in batches(len(block), how.pieces or PIECES):
                codes = [
                    Encoded(z[batch].to(model.device), there[batch].to(model.device)) for z, there in parts.values()
                ]
                out[batch.numpy()] = model.fusions[column](codes).z.float().cpu().numpy()
        yield out


def cell_of(row: Any, column: str, reads: Sequence[str] = ()) -> Any:
    """The cell of a column in a row (a dict); for a reader of several columns, a dict of those that are there."""
    if not isinstance(row, dict):
        raise UsageError(
            column, f"{type(row).__name__} is no row", 'give a dict of columns, or JSON like {"words": "..."}'
        )
    if not reads:
        return row.get(column)
    found = {name: row[name] for name in reads if not table_cells.missing(row.get(name))}
    return found or None


def complete(model: JointEmbedding, rows: Sequence[dict[str, Any]], *columns: str) -> None:
    """Give rows the cells of columns that are made of others, or read from several: what they have of these, as a dict.

    Raises:
        UsageError: the model has no such column.
    """
    for column in columns:
        parts = model.fused.get(column) or [column]
        names = [name for part in parts for name in model.reader(part).columns or [part]]
        for row in rows if names != [column] else ():
            cell = cell_of(row, column, names)
            if cell:
                row[column] = cell
