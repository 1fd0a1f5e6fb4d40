"""How vectors are computed: in batches of one shape, each by one thread, so that a cell always has the same bits."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock, local
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..encoders import Encoder
from ..ragged import Ragged
from ..readers import Preprocess

Vectors = NDArray[np.float32]
PIECES = 32  # in a batch, where nothing else is said

_lock = Lock()
_inside: list[int] = []  # of all threads that compute just now, the threads that torch had before the first came
_left = local()  # `before`: what torch had in a thread that was done while others computed; its number stays 1 there


@dataclass
class EmbedOptions:
    """How vectors are computed: it decides their last bits.

    Args:
        pieces: in a batch; the last batch is filled up, so that all are of one shape. If not given: 32, but 8 windows
            of sounds on a CPU, where what lies between two layers then stays in its cache.
        load: what loads things instead of the reader.
        windows: of a long thing, at most so many windows, spread evenly over it; all of them if not given.
        bf16: compute the encoders in bfloat16.
        raw: leave the vectors as they are where the metric is cosine: what answers of the model are made from.
        times: the seconds of each stage are added to it, those of all threads together.
        threads: batches that are computed at once; `stream` finds out.
    """

    pieces: int | None = None
    load: Preprocess | None = None
    windows: int | None = None
    bf16: bool = False
    raw: bool = False
    times: dict[str, float] | None = None
    threads: int = 1

    def batch(self, encoder: Encoder, device: torch.device) -> int:
        """How many pieces make a batch of an encoder."""
        return self.pieces or (8 if encoder.reader.windowed and device.type == "cpu" else PIECES)

    def took(self, stage: str, start: float) -> None:
        """Note how long a stage took that began at `start`."""
        if self.times is not None:
            self.times[stage] = self.times.get(stage, 0.0) + perf_counter() - start


@contextmanager
def threads(how: EmbedOptions, device: torch.device) -> Iterator[ThreadPoolExecutor]:
    """Threads that compute a batch each, with one thread of torch's: none waits for another inside a batch.

    On cores that decode meanwhile that is a third faster, and the bits do not depend on how many cores there are, nor
    on who else computes.
    """
    with _lock:
        before = _inside[0] if _inside else getattr(_left, "before", None) or torch.get_num_threads()
        _inside.append(before)
        torch.set_num_threads(1)
    how.threads = before if device.type == "cpu" else 1
    pool = ThreadPoolExecutor(how.threads)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        with _lock:
            _inside.pop()
            if not _inside:
                torch.set_num_threads(before)
            _left.before = before if _inside else None


def batches(count: int, size: int) -> Iterator[Tensor]:
    """Numbers 0 to count in batches of exactly `size`, the last one filled up with its own last number."""
    for start in range(0, count, size):
        yield torch.arange(start, start + size).clamp(max=count - 1)


def network(encoder: Encoder, x: Ragged, how: EmbedOptions, device: torch.device) -> Vectors:
    """The vectors (P, W) of a batch of pieces."""
    begun = perf_counter()
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=how.bf16):
        h = np.asarray(encoder.pieces(x.to(device)).float().cpu().numpy())
    how.took("network", begun)
    return h
