"""Cells that a reader can make without data: an exported model is checked by the vectors that it gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SOUND_SECONDS = 0.7, 3.3  # shorter and longer than the windows of most models
CHORD = 220.0, 277.2, 329.6  # Hz
IMAGE_SIZES = (48, 64), (61, 37)  # rows and columns
TEXTS = "a slow waltz for solo piano, sad and quiet", "Zwölf schnelle Geigen spielen 3 Reels!", "音楽"
WORDS_IN_TEXT = 5


def make_sounds(rate: int) -> list[NDArray[np.float32]]:
    """Sounds (N,) at a rate in Hz: a chord that fades in noise."""
    rng, sounds = np.random.default_rng(0), []
    for seconds in SOUND_SECONDS:
        time = np.arange(round(seconds * rate)) / rate
        chord = np.sin(2 * np.pi * time[:, None] * np.array(CHORD)).mean(1) * np.exp(-time)
        sounds.append((0.5 * chord + rng.normal(0, 0.02, len(time))).astype(np.float32))
    return sounds


def make_images(*sizes: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Images (rows, columns, 3) of these sizes: a ramp of colours with noise."""
    rng, images = np.random.default_rng(0), []
    for rows, columns in sizes or IMAGE_SIZES:
        down, right = np.linspace(0, 1, rows)[:, None], np.linspace(0, 1, columns)[None]
        ramp = np.stack([down * np.ones_like(right), np.ones_like(down) * right, down * right], 2)
        images.append((200 * ramp + rng.integers(0, 56, (rows, columns, 3))).astype(np.uint8))
    return images


def make_texts(vocabulary: Sequence[str]) -> list[str]:
    """Texts in several languages, and one of words that a reader knows."""
    step = max(1, len(vocabulary) // WORDS_IN_TEXT)
    words = " ".join(vocabulary[::step][:WORDS_IN_TEXT])
    return [*TEXTS, *([words] if words else [])]


def make_ids(vocabulary: Sequence[str]) -> list[Any]:
    """The first and the last id of a vocabulary, a list of both, and an unknown id."""
    if not vocabulary:
        return []
    first, last = vocabulary[0], vocabulary[-1]
    unknown = "".join(sorted(vocabulary, key=len)[-1:]) + "?"
    return [first, last, [first, last, first], unknown]
