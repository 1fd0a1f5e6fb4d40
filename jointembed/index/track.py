"""Rows that are a track of a longer sound file: when it begins and ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def track_times(row: Mapping[str, Any]) -> tuple[float, float] | None:
    """The times in seconds at which a track begins and ends, by its columns `start` and `seconds`; None for a file."""
    start, seconds = (_read_seconds(row.get(name)) for name in ("start", "seconds"))
    return None if start is None or seconds is None else (start, start + seconds)


def media_fragment(row: Mapping[str, Any]) -> str:
    """The end of an address with which a browser plays a track alone (W3C Media Fragments); "" for a file."""
    times = track_times(row)
    return "" if times is None else "#t={:.3f},{:.3f}".format(*times)


def _read_seconds(cell: Any) -> float | None:
    """A time of 0 or more, which a table may have as text; None for any other cell."""
    try:
        seconds = math.nan if isinstance(cell, bool) else float(cell)
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds < math.inf else None
