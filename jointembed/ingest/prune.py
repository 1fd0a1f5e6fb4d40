"""The removal of rows whose files are gone."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import DamagedError, UsageError
from ..index.index import Index
from .file_table import skipped
from .lock import hold

_SHARE, _FEW = 0.2, 50


def prune(index: Index, force: bool = False) -> list[str]:
    """Remove the rows of which the last scan found no file, and none is there now either.

    Args:
        index: an index that scans of a folder made.
        force: remove them even if they are more than 50 and more than a fifth of all.

    Returns:
        The ids of the rows that were removed.

    Raises:
        DamagedError: the folder is empty, cannot be read, or is on another device than at the last scan: its disk is
            probably not there. Nothing is removed, `force` or not.
        UsageError: too many would go, or the index was not made from a folder.
    """
    with hold(index.path):
        meta = index.meta()
        if "device" not in meta:
            raise UsageError(index.path, "no scan of a folder has finished this index", "there is nothing to prune")
        root = _root(meta["root"], meta["device"], index.path)
        with index.reading() as db:
            replaced = {path for path, one in skipped(db).items() if one.hash}
            found = db.execute(
                "SELECT id, path FROM rows JOIN paths USING(content) WHERE content NOT IN"
                " (SELECT content FROM paths WHERE missing IS NULL) ORDER BY number"
            ).fetchall()
        there = {id for id, path in found if path not in replaced and not _gone(os.path.join(root, path))}
        ids = [id for id in dict.fromkeys(id for id, _ in found) if id not in there]
        if len(ids) > max(_FEW, _SHARE * len(index)) and not force:
            wrong = f"{len(ids)} of {len(index)} rows have lost their files, which is more than a fifth"
            raise UsageError(
                index.path, wrong, f"mount their disk; if they are gone: jointembed prune {index.path} --force"
            )
        if ids:
            index.remove(ids)
        return ids


def _root(root: str, device: str, path: Path) -> bytes:
    again = f"mount its disk, then run: jointembed index MODEL {root} {path}"
    try:
        with os.scandir(root) as entries:
            empty = next(entries, None) is None
        same = str(os.stat(root).st_dev) == device
    except OSError as error:
        raise DamagedError(root, f"the folder cannot be read ({error.strerror})", again) from error
    if empty or not same:
        wrong = "the folder is empty" if empty else "the folder is on another device than at the last scan"
        raise DamagedError(root, wrong, again)
    return os.fsencode(root)


def _gone(path: bytes) -> bool:
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
