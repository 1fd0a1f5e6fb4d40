"""Cells -> vectors: the same bits for the same cell, whatever else is embedded with it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..encoders import PIECES_IN_BATCH, Encoder, fill_batches
from ..encoders.fusion import Fusion
from ..errors import UsageError
from ..ragged import Ragged
from ..readers.reader import check_ragged
from .column import Column
from .inference import EmbedOptions, PieceVectors, Vectors, network
from .window_batches import windowed

# N rows, P pieces, C columns, W width of the encoder, D dimension of the space

BLOCK_CELLS = 256  # cells that are read before they are computed: it bounds the memory
BLOCK_TEXTS = 4096  # texts are small, and many of them fill batches of one shape better


def embed_column(
    column: Column, name: str, cells: Iterable[Any], how: EmbedOptions, device: torch.device, pool: ThreadPoolExecutor
) -> Iterator[Vectors]:
    """The vectors of cells, none missing, in their order, some (N, D) at a time.

    Args:
        column: from cells to vectors.
        name: its name, for messages.
        cells: none missing.
        how: the options.
        device: that computes.
        pool: threads that compute a batch each.
    """
    encoder, number = column.encoder, 0
    for x, h in _encode(column, cells, how, device, pool):
        empty = (~x.present).nonzero()
        if len(empty):
            raise UsageError(f"{name}, cell {number + int(empty[0])}", "nothing in it can be read", "leave it out")
        number += len(x)
        begun = perf_counter()
        if column.sequence is not None:
            z = _read_in_order(column, x, h, how, device)
        else:
            z = _project(column, _pool_rows(encoder, x, h, device), how, device)
        how.took("network", begun)
        yield z


def piece_vectors(
    column: Column, cells: Iterable[Any], how: EmbedOptions, device: torch.device, pool: ThreadPoolExecutor
) -> Iterator[Vectors]:
    """The vectors (P, W) of the pieces of each cell, none missing, in their order; see `embed_column`."""
    for x, h in _encode(column, cells, how, device, pool):
        yield from np.split(h, x.starts[1:-1].numpy())


def fuse(network: Fusion, z: Vectors, present: NDArray[np.bool_], how: EmbedOptions, device: torch.device) -> Vectors:
    """One vector (N, D) from those of several columns (N, C, D), counting those of `present` (N, C)."""
    out = np.empty((len(z), z.shape[2]), np.float32)
    with torch.inference_mode():
        for batch in fill_batches(torch.arange(len(z)), how.batch_size or PIECES_IN_BATCH):
            rows = batch.numpy()
            fused = network(torch.from_numpy(z[rows]).to(device), torch.from_numpy(present[rows]).to(device))
            out[rows] = fused.float().cpu().numpy()
    return out


def blocks(cells: Iterable[Any], size: int = BLOCK_CELLS) -> Iterator[list[Any]]:
    """Cells, some at a time."""
    source = iter(cells)
    while block := list(itertools.islice(source, size)):
        yield block


def _encode(
    column: Column, cells: Iterable[Any], how: EmbedOptions, device: torch.device, pool: ThreadPoolExecutor
) -> Iterator[tuple[Ragged, Vectors]]:
    """Cells -> their pieces, and the vectors of these, some cells at a time."""
    if column.encoder in how.piece_vectors:
        return _look_up(column, cells, how.piece_vectors[column.encoder])
    encode = windowed if column.reader.windowed else _encode_blocks
    return encode(column, cells, how, device, pool)


def _look_up(column: Column, cells: Iterable[Any], look_up: PieceVectors) -> Iterator[tuple[Ragged, Vectors]]:
    """Cells -> their pieces, without input, and the vectors of these."""
    for block in blocks(cells):
        parts = [[look_up(element) for element in column.reader.elements(cell)] for cell in block]
        counts = torch.tensor([sum(map(len, part)) for part in parts])
        h = np.concatenate([np.empty((0, column.encoder.width), np.float32), *itertools.chain(*parts)])
        order = torch.arange(len(block))
        yield Ragged(torch.empty(len(h), 0), order.repeat_interleave(counts), order), h


def _encode_blocks(
    column: Column, cells: Iterable[Any], how: EmbedOptions, device: torch.device, pool: ThreadPoolExecutor
) -> Iterator[tuple[Ragged, Vectors]]:
    """Cells -> their pieces, and the vectors of these, a block of cells at a time."""
    for block in blocks(cells, BLOCK_TEXTS if column.reader.reads_text else BLOCK_CELLS):
        begun = perf_counter()
        x = check_ragged(column.reader, column.reader.encode(block, preprocess=how.load))
        how.took("features", begun)
        yield x, _encode_pieces(column.encoder, x, how, device, pool)


def _project(column: Column, rows: Vectors, how: EmbedOptions, device: torch.device) -> Vectors:
    """Vectors of the encoder (N, W) -> vectors of the space (N, D)."""
    out = np.empty((len(rows), column.dim), np.float32)
    with torch.inference_mode():
        for batch in fill_batches(torch.arange(len(rows)), how.batch_size or PIECES_IN_BATCH):
            out[batch.numpy()] = column.project(torch.from_numpy(rows)[batch].to(device)).float().cpu().numpy()
    return out


def _read_in_order(column: Column, x: Ragged, h: Vectors, how: EmbedOptions, device: torch.device) -> Vectors:
    """The vectors (N, D) of rows whose pieces are read in order: rows of similar length in batches of one shape."""
    sequence = column.sequence
    assert sequence is not None
    x = Ragged(torch.from_numpy(_project(column, h, how, device)), x.rows, x.row_keys)
    out = np.empty((len(x), column.dim), np.float32)
    steps = sequence.steps(x)
    with torch.inference_mode():
        for length in torch.unique(steps):
            rows = (steps == length).nonzero()[:, 0]
            for batch in fill_batches(rows, how.batch_size or PIECES_IN_BATCH):
                read = sequence.crop(x[batch]).to(device)
                last = sequence.last(sequence.states(read.values, read), read)
                out[batch.numpy()] = last.float().cpu().numpy()
    return out


def _encode_pieces(
    encoder: Encoder, x: Ragged, how: EmbedOptions, device: torch.device, pool: ThreadPoolExecutor
) -> Vectors:
    """The vector of each piece (P, W): batches have one shape."""
    out = np.empty((len(x.rows), encoder.width), np.float32)
    with torch.inference_mode():
        parts = encoder.batches(x, how.batch_size)
    vectors = pool.map(lambda part: network(encoder, x.take(part), how, device), parts)
    for batch, h in zip(parts, vectors, strict=True):
        out[batch.numpy()] = h
    return out


def _pool_rows(encoder: Encoder, x: Ragged, h: Vectors, device: torch.device) -> Vectors:
    """One vector per row (N, W) from those of its pieces (P, W), row by row in the order of the pieces."""
    if not encoder.pools_by_mean:
        starts = x.starts.tolist()
        rows = []
        for row in range(len(x)):
            part = torch.from_numpy(h[starts[row] : starts[row + 1]]).to(device)
            with torch.inference_mode():
                rows.append(encoder.pool(part, x[torch.tensor([row])].to(device)).float().cpu().numpy())
        return np.concatenate(rows)
    if len(h) == len(x):
        return h
    sums = np.add.reduceat(h.astype(np.float64), x.starts[:-1].numpy(), axis=0)
    return np.asarray(sums / x.counts.numpy()[:, None], np.float32)
