"""List the caches of a table, and remove those that are not needed."""

from __future__ import annotations


def cache(
    table: str, *, prune: bool = False, days: int | None = None, max_size: str | None = None, json_: bool = False
) -> None:
    """List the cached arrays of a table: preprocessed sounds and images, vectors of frozen encoders, encoded columns.

    With --prune, removes those that nothing will use again, because their table or the version has changed; with --days
    and --max-size further ones. A cache that a running training uses stays. What is removed is computed again when it
    is needed.

    Args:
        table: a table, the folder of one, or a folder that was given as data.cache.
        prune: remove caches.
        days: also remove those that were not used for this many days.
        max_size: also remove those whose last use is longest ago, until the others take no more, such as 20GB.
        json_: print JSON.
    """
    from pathlib import Path
    from time import time

    from ..data.cache_folder import cache_folder, format_size, list_caches, parse_size
    from ..data.cache_folder import prune as remove
    from ..data.table_file import FOLDER
    from ..errors import UsageError
    from .console import print_json, print_table

    path = Path(table)
    if not path.exists():
        raise UsageError(path, "this table or folder does not exist", "correct the path")
    for flag, value in (("--days", days), ("--max-size", max_size)):
        if value is not None and not prune:
            raise UsageError(flag, "it says what --prune removes", "add --prune, or leave it out")
    if days is not None and days < 0:
        raise UsageError("--days", f"must not be negative, got {days}", "write --days 30")
    limit = None if max_size is None else parse_size(max_size, "--max-size")
    root = path if path.is_dir() else path.parent
    beside = cache_folder(root)
    folder = beside if beside.is_dir() and root.name != FOLDER else root
    items = list_caches(folder)
    fates = remove(items, days, limit) if prune else {}
    rows = []
    for item in items:
        note = fates.get(item.path, item.outdated)
        removed = item.path in fates and note != "in use"
        rows.append((item, note, removed))
    if json_:
        print_json([
            {"path": str(item.path), "content": item.content, "arrays": item.arrays, "bytes": item.size,
             "last_use": item.last_use, "note": note, "removed": removed}
            for item, note, removed in rows
        ])  # fmt: skip
        return
    if not items:
        print(f"{folder}: no caches")
        return
    texts = [
        [item.content, f"{item.arrays:,}", format_size(item.size), _ago(time() - item.last_use),
         f"removed: {note}" if removed else note]
        for item, note, removed in rows
    ]  # fmt: skip
    print_table(["content", "arrays", "size", "last used", ""], texts, right={"arrays", "size"})
    left = sum(item.size for item, _, removed in rows if not removed)
    freed = sum(item.size for item, _, removed in rows if removed)
    print(f"{folder}: {format_size(left)}" + (f", {format_size(freed)} removed" if prune else ""))
    if limit is not None and left > limit:
        print(f"more than {max_size} is left, because it is in use or the table itself as Parquet")


def _ago(seconds: float) -> str:
    from .progress import format_duration

    days = seconds / 86_400
    return f"{days:.0f} days ago" if days >= 2 else f"{format_duration(seconds)} ago"
