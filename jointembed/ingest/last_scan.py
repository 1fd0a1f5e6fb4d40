"""What an index knew of a folder before a scan, so that an unchanged file costs one stat()."""

from __future__ import annotations

from ..index.backends.base import Root
from ..index.backends.scan_files import FileTable
from ..index.backends.scanned import File, IndexedFile


class LastScan:
    """The files and skips of the last scan of a folder.

    A scan removes each entry that it meets; those left over no longer exist.

    Args:
        table: the file table of the index.
        root: the folder.
        decoder_version: a skip by another version of the decoder is tried again.
        retry: whether all skips are tried again.
    """

    def __init__(self, table: FileTable, root: Root, decoder_version: str, retry: bool) -> None:
        skips = table.skips()
        self.unseen_files = {path: file for path, file in table.indexed_files().items() if root.contains(path)}
        self.unseen_skips = {path: skip for path, skip in skips.items() if root.contains(path)}
        self._ambiguous_stats = table.ambiguous_stats()
        trusted = [
            skip for skip in skips.values() if skip.hash and skip.decoder_version == decoder_version and not retry
        ]
        self.skipped_contents = {skip.hash: skip for skip in trusted}
        self._skipped_files = {skip.path: (skip.size, skip.mtime) for skip in trusted}

    def is_known_skip(self, file: File) -> bool:
        """Whether the file was skipped before and has not changed, so that it need not even be read."""
        if self._skipped_files.get(file.path) != (file.size, file.mtime):
            return False
        del self.unseen_skips[file.path]
        self.unseen_files.pop(file.path, None)
        return True

    def is_unchanged(self, file: File, old: IndexedFile) -> bool:
        """Whether the last scan found the same file at this path."""
        stats = (old.size, old.mtime)
        # Some file systems number their files anew at every mount, so the inode counts only where it must.
        return stats == (file.size, file.mtime) and (file.inode == old.inode or stats not in self._ambiguous_stats)
