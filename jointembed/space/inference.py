"""How vectors are computed: in batches of one shape, each by one thread, so that a cell always has the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock, local
from time import perf_counter
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ..encoders import PIECES_IN_BATCH, Encoder
from ..ragged import Ragged
from ..readers import Preprocess
from .int8 import Ranges

Vectors = NDArray[np.float32]
PieceVectors = Callable[[Any], Vectors]  # an element of a cell -> the vectors (P, W) of its pieces
Precision = Literal["float32", "bfloat16"] | Ranges

_lock = Lock()
_inside: list[int] = []  # an entry for each computing thread: torch's number of threads before the first of them
_left = local()  # `before`: what torch had in a thread that was done while others computed; its number stays 1 there


@dataclass
class EmbedOptions:
    """How vectors are computed: it decides their last bits.

    Args:
        batch_size: pieces a batch; the last batch is filled up, so that all have one shape. If not given: 32, but 8
            windows of sounds on a CPU, 4 in int8, whose activations then stay in its cache.
        load: loads elements instead of the reader.
        piece_vectors: for some encoders, what gives the vectors of the pieces of an element, instead of computing them.
        max_windows: of a long sound, at most this many windows, spread evenly over it; all if not given.
        precision: see `Space.embed`.
        normalize: give unit vectors if the metric is cosine.
        seconds: the time of each stage is added to it, summed over all threads.
        threads: batches that are computed at once; set by `threads`.
    """

    batch_size: int | None = None
    load: Preprocess | None = None
    piece_vectors: Mapping[Encoder, PieceVectors] = field(default_factory=dict)
    max_windows: int | None = None
    precision: Precision = "float32"
    normalize: bool = True
    seconds: dict[str, float] | None = None
    threads: int = 1

    def windows_in_batch(self, device: torch.device) -> int:
        """How many windows of sounds make a batch."""
        few = 8 if isinstance(self.precision, str) else 4
        return self.batch_size or (few if device.type == "cpu" else PIECES_IN_BATCH)

    def took(self, stage: str, start: float) -> None:
        """Note how long a stage took that began at `start`."""
        if self.seconds is not None:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + perf_counter() - start


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


def network(encoder: Encoder, x: Ragged, how: EmbedOptions, device: torch.device) -> Vectors:
    """The vectors (P, W) of a batch of pieces."""
    begun = perf_counter()
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=how.precision == "bfloat16"):
        h = np.asarray(encoder.pieces(x.to(device)).float().cpu().numpy())
    how.took("network", begun)
    return h
