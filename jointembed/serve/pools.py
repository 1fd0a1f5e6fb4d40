"""The threads and queues of a server: what bounds how much it does at once, however many indexes it serves."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from .workers import Batches, Workers

_MAX_UPLOADS = 10  # sounds that are received, wait or are embedded
_EMBEDDED_AT_ONCE = 2
_AUDIO_TIMEOUT = 120.0  # seconds
_LAYOUT_SECONDS = 1_800.0  # UMAP of many rows takes minutes, and the page can cancel it


class Pools:
    """The threads of a server, by what they do; `loader` loads one model after another."""

    def __init__(self) -> None:
        self.lookups = Batches("lookup", 32)
        self.searches = Workers("search", 2, 32)
        self.layouts = Workers("layout", 1, 16, timeout=_LAYOUT_SECONDS)  # nothing else waits for them
        self.columns = Workers("column", 1, 16)
        self.covers = Workers("cover", 2, 64)
        self.monitor = Workers("metrics", 1, 4)  # of its own, to answer when the others are busy
        self.texts = Workers("embed-text", 1, 32)
        self.sounds = Workers("embed-audio", _EMBEDDED_AT_ONCE, _MAX_UPLOADS - _EMBEDDED_AT_ONCE, _AUDIO_TIMEOUT)
        self.loader = ThreadPoolExecutor(1, thread_name_prefix="load")
        self.uploads = asyncio.Semaphore(_MAX_UPLOADS)

    @property
    def queues(self) -> list[Workers]:
        """The threads that requests may wait for."""
        return [
            self.lookups.workers, self.searches, self.layouts, self.columns, self.covers, self.texts, self.sounds
        ]  # fmt: skip

    def close(self) -> None:
        """Drop what waits; what runs is not waited for."""
        self.loader.shutdown(wait=False, cancel_futures=True)
        for workers in (*self.queues, self.monitor):
            workers.close()
