"""The plain method that the demo is compared with: MFCC statistics, TF-IDF of captions, and pixels of piano rolls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import piano_roll

Vectors = NDArray[np.float32]


class Baseline:
    """Vectors without learning; one modality is compared with another through the nearest training song.

    Args:
        rows: the songs, with paths in the columns audio and piano_roll.
        frames: the log-mel frames (T, bands) of each song.
    """

    def __init__(self, rows: Sequence[dict[str, Any]], frames: Sequence[NDArray[Any]]) -> None:
        self.train = [row for row in rows if row["split"] == "train"]
        self.audio = dict(zip([row["audio"] for row in rows], _mfcc_statistics(frames), strict=True))

    def embed(
        self, queries: Sequence[str], query: str, candidates: Sequence[str], target: str
    ) -> tuple[Vectors, Vectors]:
        """Unit vectors of queries of one column and of candidates of another, in the space of the candidates."""
        if query == target:
            return self._target(query, queries), self._target(target, candidates)
        if query == "caption":
            pairs = [(caption, row) for row in self.train for caption in row["caption"]]
            table = _tfidf([*queries, *(caption for caption, _ in pairs)])
            own, train = table[: len(queries)], table[len(queries) :]
        else:
            pairs = [(row[query], row) for row in self.train]
            own, train = self._target(query, queries), self._target(query, [cell for cell, _ in pairs])
        nearest = (own @ train.T).argmax(1)
        targets = self._target(target, [row[target] for _, row in pairs])
        return targets[nearest], self._target(target, candidates)

    def _target(self, column: str, cells: Sequence[str]) -> Vectors:
        if column == "audio":
            return _unit(np.stack([self.audio[cell] for cell in cells]))
        return _unit(np.stack([piano_roll.read(cell).ravel() for cell in cells]))


def _mfcc_statistics(frames: Sequence[NDArray[Any]], count: int = 20) -> Vectors:
    """Mean and standard deviation of the first MFCCs of N sounds (N, 2 count), standardised."""
    from scipy.fft import dct

    cepstra = [dct(np.asarray(sound, np.float64), norm="ortho")[:, :count] for sound in frames]
    table = np.stack([np.concatenate([cepstrum.mean(0), cepstrum.std(0)]) for cepstrum in cepstra])
    return _unit((table - table.mean(0)) / np.maximum(table.std(0), 1e-9))


def _tfidf(texts: Sequence[str]) -> Vectors:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return _unit(TfidfVectorizer().fit_transform(texts).toarray())


def _unit(vectors: NDArray[Any]) -> Vectors:
    vectors = np.asarray(vectors, np.float32)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), np.float32)
