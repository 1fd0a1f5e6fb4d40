"""Rows that are a track of a longer sound file: when it begins and ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def track_times(row: Mapping[str, Any]) -> tuple[float, float] | None:
    """The times in seconds at which a track begins and ends, by its columns `start` and `seconds`; None for a file."""
    start, seconds = row.get("start"), row.get("seconds")
    if not isinstance(start, int | float) or not isinstance(seconds, int | float):
        return None
    return start, start + seconds


def media_fragment(row: Mapping[str, Any]) -> str:
    """The end of an address with which a browser plays a track alone (W3C Media Fragments); "" for a file."""
    times = track_times(row)
    return "" if times is None else "#t={:.3f},{:.3f}".format(*times)
