"""The plain method that the demo's figures stand beside: MFCC statistics, words and pixels, and nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


def mfcc(frames: Sequence[NDArray[Any]], count: int = 20) -> Vectors:
    """Log-mel frames (T, bands) of N sounds -> mean and deviation of their first MFCCs (N, 2 count), standardised."""
    from scipy.fft import dct

    made = []
    for one in frames:
        cepstrum = dct(np.asarray(one, np.float64), norm="ortho")[:, :count]
        made.append(np.concatenate([cepstrum.mean(0), cepstrum.std(0)]))
    table = np.stack(made)
    return unit((table - table.mean(0)) / np.maximum(table.std(0), 1e-9))


def words(texts: Sequence[str]) -> Vectors:
    """Texts -> TF-IDF vectors (N, words)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return np.asarray(TfidfVectorizer().fit_transform(texts).toarray(), np.float32)


def unit(vectors: NDArray[Any]) -> Vectors:
    """Vectors of length 1."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), np.float32)


def through(
    queries: Vectors, seen: Vectors, seen_targets: Vectors, aim: Callable[[Vectors], Vectors] = unit
) -> Vectors:
    """A query of one modality as a vector of another: that of the seen song whose own modality is nearest."""
    return aim(seen_targets[(unit(queries) @ unit(seen).T).argmax(1)])
