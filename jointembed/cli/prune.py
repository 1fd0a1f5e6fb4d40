"""`jointembed prune`: the rows of an index whose files are gone, removed."""

from __future__ import annotations

from ..errors import escape_control
from ..index.index import Index
from ..ingest import prune as pruned


def prune(index: str, force: bool = False) -> None:
    """Remove the rows whose files the last scan of the folder did not find, and which are still not there.

    Refuses if the folder is empty, cannot be read or is on another device; and if more than a fifth of the rows and
    more than 50 would go, unless forced.

    Args:
        index: the index of a folder.
        force: remove the rows however many they are.
    """
    with Index.open(index) as opened:
        gone = pruned(opened, force)
        for id in gone:
            print(escape_control(id))
        print(f"{len(gone)} rows removed, {len(opened)} kept")
