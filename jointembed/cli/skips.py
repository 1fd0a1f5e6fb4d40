"""List the files that indexing skipped, with the reason and the fix."""

from __future__ import annotations

import json
import os
import shutil
import textwrap
from collections import Counter

from ..errors import escape_control
from ..index.index import Index
from ..ingest import Skip, list_skips


def skips(index: str, *, json_: bool = False) -> None:
    """The files that `jointembed index MODEL FOLDER INDEX` skipped, each with a code, the reason and the fix.

    Args:
        index: the index.
        json_: print JSON: [{"path", "reason", "problem", "fix"}]; path bytes that are not UTF-8 become lone surrogates.
    """
    with Index.open(index) as opened:
        found = list_skips(opened)
    if json_:
        print(json.dumps([
            {"path": os.fsdecode(one.path), "reason": one.reason, "problem": one.problem, "fix": one.fix}
            for one in found
        ]))  # fmt: skip
        return
    for one in found:
        print(_block(one))
    counts = ", ".join(f"{count} {reason}" for reason, count in Counter(one.reason for one in found).most_common())
    print(f"{len(found)} skipped" + (f": {counts}" if counts else ""))


def _block(one: Skip) -> str:
    """A skip in a few lines: its code and its path, which is never broken; what is wrong; what mends it."""
    width = max(40, shutil.get_terminal_size((120, 24)).columns - 1)
    told = [
        textwrap.fill(
            escape_control(words), width, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
        )
        for words in (one.problem, f"Fix: {one.fix}")
    ]
    return "\n".join([f"{one.reason}: {escape_control(os.fsdecode(one.path))}", *told])
