"""Embed sounds window by window; the next sounds are read while windows are computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import files
from ..encoders import Encoder
from ..ragged import Ragged
from ..readers import Reader
from ..readers.windows import evenly_spaced
from .column import Column
from .inference import EmbedOptions, Vectors, network

READER_THREADS = min(4, files.available_cores())
MAX_PENDING_SOUNDS = 256  # sounds that wait for the last of their windows


@dataclass
class _Sound:
    """A sound with `left` windows whose vectors are still to be computed."""

    x: Ragged
    h: Vectors
    left: int


_Batch = list[tuple[_Sound, int]]  # windows of sounds


def windowed(
    column: Column, cells: Iterable[Any], how: EmbedOptions, device: torch.device, pool: ThreadPoolExecutor
) -> Iterator[tuple[Ragged, Vectors]]:
    """Sounds -> their windows, and the vectors of these, one sound at a time.

    Windows of equal length from several sounds share a batch, so few batches need padding. If a sound cannot be read,
    the sounds before it come first, and then the error.
    """
    encoder = column.encoder
    sounds: deque[_Sound] = deque()
    waiting: dict[int, _Batch] = {}  # windows to be computed, by their length
    running: deque[tuple[Future[Vectors], _Batch]] = deque()
    size = how.windows_in_batch(device)
    error: Exception | None = None

    def read() -> Iterator[Ragged]:
        nonlocal error
        try:
            yield from _ahead(lambda cell: _windows(column.reader, cell, how), cells)
        except Exception as reason:
            error = reason

    def start(length: int) -> None:
        batch = waiting.pop(length)
        values = [sound.x.values[at] for sound, at in batch + batch[-1:] * (size - len(batch))]
        running.append((pool.submit(_stacked, encoder, values, how, device), batch))

    def complete(limit: int) -> Iterator[tuple[Ragged, Vectors]]:
        """The sounds that are complete, once at most `limit` batches are still running."""
        while running and (len(running) > limit or running[0][0].done()):
            future, batch = running.popleft()
            for (sound, at), vector in zip(batch, future.result(), strict=False):
                sound.h[at] = vector
                sound.left -= 1
        while sounds and not sounds[0].left:
            sound = sounds.popleft()
            yield sound.x, sound.h

    for x in read():
        sound = _Sound(x, np.empty((len(x.rows), encoder.width), np.float32), len(x.rows))
        sounds.append(sound)
        for at, length in enumerate(encoder.length(x).tolist()):
            waiting.setdefault(length, []).append((sound, at))
            if len(waiting[length]) == size:
                start(length)
        # One window of a rare length must not keep all that come after it in memory.
        for length in [
            length for length, batch in waiting.items() if len(sounds) > MAX_PENDING_SOUNDS and batch[0][0] is sounds[0]
        ]:
            start(length)
        yield from complete(2 * how.threads)
    for length in list(waiting):
        start(length)
    yield from complete(0)
    if error is not None:
        raise error


def _stacked(encoder: Encoder, values: list[Tensor], how: EmbedOptions, device: torch.device) -> Vectors:
    numbers = torch.arange(len(values))
    return network(encoder, Ragged(torch.stack(values), numbers, numbers), how, device)


def _windows(reader: Reader, cell: Any, how: EmbedOptions) -> Ragged:
    """The windows of one sound, at most `max_windows` of them."""
    begun = perf_counter()
    cut: list[Any] = []
    for element in reader.elements(cell):
        if how.load is None:
            cut += reader.windows(element, how.max_windows)
        else:
            whole = reader.pieces(how.load(reader, element))
            cut += [whole[number] for number in evenly_spaced(len(whole), how.max_windows)]
    values = torch.from_numpy(np.stack(cut) if cut else np.zeros((0, *reader.shape), np.float32))
    how.took("features", begun)
    return Ragged(values, torch.zeros(len(cut), dtype=torch.int64), torch.zeros(1, dtype=torch.int64))


def _ahead(read: Callable[[Any], Ragged], cells: Iterable[Any]) -> Iterator[Ragged]:
    """The results of `read` in the order of the cells; threads read the next cells meanwhile."""
    waiting: deque[Future[Ragged]] = deque()
    with ThreadPoolExecutor(READER_THREADS) as pool:
        try:
            for cell in cells:
                waiting.append(pool.submit(read, cell))
                while waiting and (waiting[0].done() or len(waiting) > 2 * READER_THREADS):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
