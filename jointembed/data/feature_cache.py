"""A cache of preprocessed arrays on disk, so that a sound is decoded once and not in every epoch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .. import files
from ..readers import Reader
from .array_cache import Array, ArrayCache


class FeatureCache(ArrayCache):
    """The arrays of one reader's `preprocess`; see `ArrayCache`.

    The file is named by a hash of the reader's settings, and an array is found by a hash of the content of its sound
    or image.

    Args:
        folder: the folder of the files.
        reader: the reader whose arrays are cached.
        workers: threads that read; one a core if not given.
    """

    def __init__(self, folder: Path, reader: Reader, workers: int | None = None) -> None:
        config, name = reader.preprocess_config(), type(reader).__name__
        self.reader, self.workers = reader, workers or files.available_cores()
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]
        settings = ", ".join(f"{key}={value}" for key, value in config.get("init_args", config).items())
        super().__init__(folder, f"{name}-{digest}-arrays", f"{name}({settings})")

    def compute(self, elements: Sequence[Any]) -> Generator[Array]:
        """What the reader's `preprocess` gives, by several threads."""
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                yield from pool.map(self.reader.preprocess, elements)
            finally:
                pool.shutdown(cancel_futures=True)

    def __call__(self, reader: Reader, element: Any) -> Array:
        """The array of `reader.preprocess(element)`, from the cache if it is there."""
        array = self.get(self.key(element))
        return reader.preprocess(element) if array is None else array
