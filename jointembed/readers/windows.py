"""How many windows a sound is cut into, what happens to its tail, and which windows represent a long sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

WINDOWS_IN_BLOCK = 8  # that a graph computes at once


def count_windows(length: int, window: int) -> int:
    """The number of windows of `window` frames or samples in a sound of `length`.

    A tail of at least half a window is one more window, which the reader pads with silence; a shorter tail is left out.
    A sound shorter than a window is one window.
    """
    full, tail = divmod(length, window)
    return full + (tail * 2 >= window or not full)


def evenly_spaced(count: int, limit: int | None) -> list[int]:
    """The positions of at most `limit` of `count` windows: the middle of each of `limit` equal stretches."""
    if limit is None or count <= limit:
        return list(range(count))
    return [(2 * number + 1) * count // (2 * limit) for number in range(limit)]


def consecutive(numbers: Sequence[int], most: int) -> Iterator[list[int]]:
    """Numbers in ascending order as runs without gaps, of at most `most`."""
    run: list[int] = []
    for number in numbers:
        if run and (number > run[-1] + 1 or len(run) == most):
            yield run
            run = []
        run.append(number)
    yield run
