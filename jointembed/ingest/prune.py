"""The removal of rows whose files are gone."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import DamagedError, UsageError
from ..files import sound_path
from ..index.backends.base import Root
from ..index.backends.scan_files import FileTable
from ..index.index import Index
from .lock import exclusive_lock

PRUNE_MAX_SHARE, PRUNE_MAX_ROWS = 0.2, 50  # more than both at once is probably a disk that is not mounted


def prune(index: Index, force: bool = False) -> list[str]:
    """Remove the rows whose files were missing at the last scan and are still missing.

    Args:
        index: an index that was filled by scans of a folder.
        force: remove them even if they are more than 50 and more than a fifth of all rows.

    Returns:
        The ids of the removed rows.

    Raises:
        DamagedError: a folder is empty, cannot be read, or is on another device than at its last scan: its disk is
            probably not mounted. Nothing is removed, with `force` or without.
        UsageError: too many rows would be removed, or the index was not made from a folder.
    """
    with exclusive_lock(index.path):
        scanned = [root for root in index.info.roots if root.device]
        if not scanned:
            raise UsageError(index.path, "no scan of a folder has finished this index", "there is nothing to prune")
        table = FileTable(index.backend, "")
        rows = table.rows_without_files()
        replaced = {path for path, skip in table.skips().items() if skip.hash}
        # A file that is split into its tracks now, and tracks that a cue sheet no longer lists, are gone too.
        replaced |= {sound_path(path) for path in table.paths() if sound_path(path) != path}
        replaced |= {path for _, path in rows if sound_path(path) != path}
        returned = set()
        for root in scanned:
            if len(scanned) == 1 or any(root.contains(path) for _, path in rows):
                _check_root(root, index.path)
            paths = [(id, path) for id, path in rows if root.contains(path) and path not in replaced]
            returned |= {id for id, path in paths if not _is_gone(root.absolute(path))}
        ids = [id for id in dict.fromkeys(id for id, _ in rows) if id not in returned]
        if len(ids) > max(PRUNE_MAX_ROWS, PRUNE_MAX_SHARE * len(index)) and not force:
            problem = f"{len(ids)} of {len(index)} rows have lost their files, which is more than a fifth"
            fix = f"mount their disk; if they are gone: jointembed prune {index.path} --force"
            raise UsageError(index.path, problem, fix)
        if ids:
            index.remove(ids)
        return ids


def _check_root(root: Root, path: Path) -> None:
    fix = f"mount its disk, then run: jointembed index MODEL {root.folder} {path}"
    try:
        with os.scandir(root.folder) as entries:
            empty = next(entries, None) is None
        same_device = str(os.stat(root.folder).st_dev) == root.device
    except OSError as error:
        raise DamagedError(root.folder, f"the folder cannot be read ({error.strerror})", fix) from error
    if empty or not same_device:
        problem = "the folder is empty" if empty else "the folder is on another device than at the last scan"
        raise DamagedError(root.folder, problem, fix)


def _is_gone(path: bytes) -> bool:
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
