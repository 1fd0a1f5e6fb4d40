"""Remove the rows of an index whose files no longer exist."""

from __future__ import annotations


def prune(index: str, *, force: bool = False) -> None:
    """Remove the rows whose files were missing in the last scan of the folder and are still missing.

    Refuses if the folder is empty, unreadable or on another device than before, or if more than 50 rows and more than a
    fifth of all would be removed, unless --force is given.

    Args:
        index: the index of a folder.
        force: remove any number of rows.
    """
    from ..errors import escape_control
    from ..index.index import Index
    from ..ingest import prune as remove_missing

    with Index.open(index) as opened:
        removed = remove_missing(opened, force)
        for id in removed:
            print(escape_control(id))
        print(f"{len(removed)} rows removed, {len(opened)} kept")
