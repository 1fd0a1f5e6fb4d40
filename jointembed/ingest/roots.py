"""The folders of an index, whose files its rows are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from ..errors import DamagedError, UsageError
from ..files import is_inside
from ..index.backends.base import Root
from ..index.backends.scan_files import FileTable
from ..index.index import Index

PATHS_LOOKED_FOR = 1_000  # in a folder that may be a moved one


def find_root(index: Index, folder: Path | str) -> Root:
    """The root of an index that is a folder, or a new one.

    A root that no longer exists was moved if one of its indexed files lies at its place in the folder.

    Raises:
        DamagedError: the folder does not exist.
        UsageError: the index was made from a table, or the folder and a root of the index lie one inside the other.
    """
    path = os.path.realpath(folder)
    info = index.info
    if not os.path.isdir(path):
        raise DamagedError(path, "the folder does not exist", "correct the path, or mount its disk")
    if not info.roots and len(index):
        raise UsageError(index.path, "this index was made from a table", "choose another name for the folder's index")
    for root in info.roots:
        if root.folder == path:
            return root
    check_disjoint([path, *(root.folder for root in info.roots)])
    for root in info.roots:
        if not os.path.isdir(root.folder) and _has_moved(index, root, path):
            return replace(root, folder=path)
    return Root(path, _choose_label(path, [root.label for root in info.roots]))


def check_disjoint(folders: Sequence[str]) -> None:
    """Raise UsageError if the first folder is another one, contains it, or lies inside it."""
    path = os.path.realpath(folders[0])
    for second in map(os.path.realpath, folders[1:]):
        if is_inside(path, second) or is_inside(second, path):
            problem = f"it is given twice, as {second}" if path == second else f"this folder and {second} overlap"
            raise UsageError(folders[0], problem, f"index {min(path, second, key=len)} alone")


def _has_moved(index: Index, root: Root, folder: str) -> bool:
    """Whether a file of a root lies at its place in another folder."""
    paths = (path for path in FileTable(index.backend, "").paths() if root.contains(path))
    moved = Root(folder, root.label)
    return any(os.path.lexists(moved.absolute(path)) for path in islice(paths, PATHS_LOOKED_FOR))


def _choose_label(folder: str, labels: Sequence[str]) -> str:
    if not labels:
        return ""
    name = os.path.basename(folder) or "root"
    names = (name if number == 1 else f"{name} {number}" for number in range(1, len(labels) + 2))
    return next(label for name in names if (label := f"{name}//") not in labels)
