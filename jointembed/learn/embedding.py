"""Cells -> vectors, the same bits for the same cell whatever stands beside it."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import cells as table_cells
from .. import machine
from ..errors import Damaged, Usage
from .encoders import Encoder
from .fusion import Code
from .ragged import Ragged
from .readers import Load, Reader
from .readers.reader import spread

if TYPE_CHECKING:
    from .pools import History
    from .space import JointEmbedding

Vectors = NDArray[np.float32]
BLOCK = 256  # cells that are read before they are computed: it bounds the memory
READERS = min(4, machine.cores())  # threads that read sounds


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
    for number, cell in enumerate(cells):
        if table_cells.missing(cell):
            raise Usage(f"{column}, cell {number}", "it is missing, so it has no vector", "leave it out")
    z = np.concatenate([np.empty((0, model.dim), np.float32), *stream(model, column, cells, how)])
    if not np.isfinite(z).all():
        raise Damaged(column, "the model gives vectors that are not finite", "use an earlier checkpoint of the run")
    return z


def stream(model: JointEmbedding, column: str, cells: Iterable[Any], how: How) -> Iterator[Vectors]:
    """The vectors of cells, none missing, in their order, some (N, D) at a time.

    Cells are drawn in the thread that iterates, as they are needed: sounds one by one, and the next ones are read while
    one batch of windows, of whatever sounds, is computed.
    """
    if not model.built:
        raise Usage("model", "it has not been trained", "fit it, or load it from a checkpoint")
    training = model.training
    model.eval()
    try:
        for z in (_fused if column in model.fused else _raw)(model, column, cells, how):
            if model.metric == "cosine":
                norms = np.sqrt((z.astype(np.float64) ** 2).sum(1, keepdims=True))
                z = np.asarray(z / np.maximum(norms, 1e-30), np.float32)
            yield z
    finally:
        model.train(training)


def _raw(model: JointEmbedding, column: str, cells: Iterable[Any], how: How) -> Iterator[Vectors]:
    encoder = model.encoder(column)
    number = 0
    for x, h in (_windowed if encoder.reader.parts else _encoded)(model, encoder, cells, how):
        empty = (~x.present).nonzero()
        if len(empty):
            raise Usage(f"{column}, cell {number + int(empty[0])}", "nothing in it can be read", "leave it out")
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


def _batches(count: int, size: int) -> Iterator[Tensor]:
    """Numbers 0 to count in batches of exactly `size`, the last one filled up with its own last number."""
    for start in range(0, count, size):
        yield torch.arange(start, start + size).clamp(max=count - 1)


def _encoded(
    model: JointEmbedding, encoder: Encoder, cells: Iterable[Any], how: How
) -> Iterator[tuple[Ragged, Vectors]]:
    """Cells -> their pieces, and the vectors of these, a block of cells at a time."""
    for block in _blocks(cells):
        begun = perf_counter()
        x = encoder.reader.encode(block, load=how.load)
        how.took("features", begun)
        begun = perf_counter()
        h = _piecewise(encoder, x, how, model.device)
        how.took("network", begun)
        yield x, h


@dataclass
class _Sound:
    """A sound of which the vectors of some windows, `left` of them, are still to be computed."""

    x: Ragged
    h: Vectors
    left: int


def _windowed(
    model: JointEmbedding, encoder: Encoder, cells: Iterable[Any], how: How
) -> Iterator[tuple[Ragged, Vectors]]:
    """Sounds -> their windows, and the vectors of these, one sound at a time.

    A batch takes windows of several sounds, so that only the last one is filled up.
    """
    sounds: deque[_Sound] = deque()
    waiting: dict[int, list[tuple[_Sound, int]]] = {}  # windows to be computed, by their length

    def compute(length: int) -> None:
        begun = perf_counter()
        batch = waiting.pop(length)
        values = torch.stack([sound.x.values[at] for sound, at in batch + batch[-1:] * (how.pieces - len(batch))])
        numbers = torch.arange(len(values))
        h = _network(encoder, Ragged(values, numbers, numbers), how, model.device)
        for (sound, at), vector in zip(batch, h, strict=False):
            sound.h[at] = vector
            sound.left -= 1
        how.took("network", begun)

    def done() -> Iterator[tuple[Ragged, Vectors]]:
        while sounds and not sounds[0].left:
            sound = sounds.popleft()
            yield sound.x, sound.h

    for x in _ahead(lambda cell: _windows(encoder.reader, cell, how), cells):
        sound = _Sound(x, np.empty((len(x.rows), encoder.width), np.float32), len(x.rows))
        sounds.append(sound)
        for at, length in enumerate(encoder.length(x).tolist()):
            waiting.setdefault(length, []).append((sound, at))
            if len(waiting[length]) == how.pieces:
                compute(length)
        # One window of a rare length must not keep all that come after it in memory.
        for length in [length for length, batch in waiting.items() if len(sounds) > BLOCK and batch[0][0] is sounds[0]]:
            compute(length)
        yield from done()
    for length in list(waiting):
        compute(length)
    yield from done()


def _windows(reader: Reader, cell: Any, how: How) -> Ragged:
    """The windows of one sound that are asked for."""
    begun = perf_counter()
    cut: list[Any] = []
    for element in reader.elements(cell):
        if how.load is None:
            cut += reader.windows(element, how.windows)
        else:
            whole = reader.pieces(how.load(reader, element))
            cut += [whole[number] for number in spread(len(whole), how.windows)]
    values = torch.from_numpy(np.stack(cut) if cut else np.zeros((0, *reader.shape), np.float32))
    how.took("features", begun)
    return Ragged(values, torch.zeros(len(cut), dtype=torch.int64), torch.zeros(1, dtype=torch.int64))


def _ahead(read: Callable[[Any], Ragged], cells: Iterable[Any]) -> Iterator[Ragged]:
    """What `read` gives for each cell, in their order; threads read the next cells meanwhile."""
    waiting: deque[Future[Ragged]] = deque()
    with ThreadPoolExecutor(READERS) as pool:
        try:
            for cell in cells:
                waiting.append(pool.submit(read, cell))
                while waiting and (waiting[0].done() or len(waiting) > 2 * READERS):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _projected(model: JointEmbedding, column: str, rows: Vectors, how: How) -> Vectors:
    """Vectors of rows (N, W) -> (N, D) in the space."""
    project = model.projections[model.columns[column]]
    out = np.empty((len(rows), model.dim), np.float32)
    with torch.inference_mode():
        for batch in _batches(len(rows), how.pieces):
            out[batch.numpy()] = project(torch.from_numpy(rows)[batch].to(model.device)).float().cpu().numpy()
    return out


def _read(model: JointEmbedding, column: str, x: Ragged, h: Vectors, how: How) -> Vectors:
    """The vectors (N, D) of rows whose pieces are read in their order: rows of like lengths in batches of one shape."""
    pool = cast("History", model.pools[column])
    x = Ragged(torch.from_numpy(_projected(model, column, h, how)), x.rows, x.keys)
    out = np.empty((len(x), model.dim), np.float32)
    steps = pool.steps(x)
    with torch.inference_mode():
        for length in torch.unique(steps):
            chosen = (steps == length).nonzero()[:, 0]
            for batch in _batches(len(chosen), how.pieces):
                seen = pool.seen(x[chosen[batch]]).to(model.device)
                out[chosen[batch].numpy()] = pool.last(pool.states(seen.values, seen), seen).float().cpu().numpy()
    return out


def _network(encoder: Encoder, x: Ragged, how: How, device: torch.device) -> Vectors:
    """The vectors (P, W) of a batch of pieces."""
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=how.bf16):
        return np.asarray(encoder.pieces(x.to(device)).float().cpu().numpy())


def _piecewise(encoder: Encoder, x: Ragged, how: How, device: torch.device) -> Vectors:
    """The vector of each piece (P, W): pieces of one length meet in batches of one shape."""
    lengths = encoder.length(x)
    out = np.empty((len(x.rows), encoder.width), np.float32)
    for length in torch.unique(lengths):
        chosen = (lengths == length).nonzero()[:, 0]
        for batch in _batches(len(chosen), how.pieces):
            out[chosen[batch].numpy()] = _network(encoder, x.take(chosen[batch]), how, device)
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


def _fused(model: JointEmbedding, column: str, cells: Iterable[Any], how: How) -> Iterator[Vectors]:
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
                z[there] = np.concatenate(list(_raw(model, part, known, how)))
            parts[part] = torch.from_numpy(z), torch.from_numpy(there)
        anything = torch.stack([there for _, there in parts.values()]).any(0)
        if not anything.all():
            raise Usage(
                f"{column}, cell {number + int((~anything).nonzero()[0])}",
                "none of its parts is there",
                "give at least one of " + ", ".join(model.fused[column]),
            )
        number += len(block)
        out = np.empty((len(block), model.dim), np.float32)
        with torch.inference_mode():
            for batch in _batches(len(block), how.pieces):
                codes = [Code(z[batch].to(model.device), there[batch].to(model.device)) for z, there in parts.values()]
                out[batch.numpy()] = model.fusions[column](codes).z.float().cpu().numpy()
        yield out


def cell_of(row: Any, column: str, reads: Sequence[str] = ()) -> Any:
    """The cell of a column in a row (a dict); for a reader of several columns, a dict of those that are there."""
    if not isinstance(row, dict):
        raise Usage(column, f"{type(row).__name__} is no row", 'give a dict of columns, or JSON like {"words": "..."}')
    if not reads:
        return row.get(column)
    found = {name: row[name] for name in reads if not table_cells.missing(row.get(name))}
    return found or None
