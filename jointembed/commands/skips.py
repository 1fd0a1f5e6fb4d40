"""`jointembed skips`: what the last scan of a folder left out, and what mends it."""

from __future__ import annotations

import json as encoder
import os
from collections import Counter

from ..find.index import Index
from ..find.scan import skips as listed
from . import show


def skips(index: str, json: bool = False) -> None:
    """The files that `jointembed index MODEL FOLDER INDEX` skipped, each with a code, the reason and the fix.

    Args:
        index: the index.
        json: print JSON: [{"path", "reason", "wrong", "fix"}]; a path's bytes that are not UTF-8 are lone surrogates.
    """
    with Index.open(index) as opened:
        found = listed(opened)
    if json:
        print(encoder.dumps([
            {"path": os.fsdecode(one.path), "reason": one.reason, "wrong": one.wrong, "fix": one.fix} for one in found
        ]))  # fmt: skip
        return
    if found:
        cells = [[one.reason, os.fsdecode(one.path), one.wrong, one.fix] for one in found]
        print(
            show.table([["code", "path", "what is wrong", "fix"], *([_plain(cell) for cell in row] for row in cells)])
        )
    counts = ", ".join(f"{count} {reason}" for reason, count in Counter(one.reason for one in found).most_common())
    print(f"{len(found)} skipped" + (f": {counts}" if counts else ""))


def _plain(text: str) -> str:
    """A text in which what would not show, or would reach the terminal as a command, is written out."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
