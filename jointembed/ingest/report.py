"""The counts of a scan, which must add up."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UserError


@dataclass
class ScanReport:
    """The counts of one scan: files = indexed + unchanged + skipped + duplicate + unsupported.

    Args:
        files: entries that the walk came to, without folders and hidden files.
        indexed: decoded, embedded and committed.
        unchanged: already in the index, under this path or, if `moved`, under a path that is gone.
        skipped: left out, each for a reason that the index records.
        duplicate: the same bytes as another file, whose row they share.
        unsupported: not sound files by their names.
        moved: how many of the unchanged files have another path than before.
        missing: indexed files that are no longer in the folder; they are marked, and their rows kept.
    """

    files: int = 0
    indexed: int = 0
    unchanged: int = 0
    skipped: int = 0
    duplicate: int = 0
    unsupported: int = 0
    moved: int = 0
    missing: int = 0

    def check(self) -> None:
        """Raise UserError unless the counts add up; if they do not, a file was lost on the way."""
        if self.files != self.indexed + self.unchanged + self.skipped + self.duplicate + self.unsupported:
            raise UserError("scan", f"the file counts do not add up: {self}", "report this; the index itself is intact")

    def __str__(self) -> str:
        moved = f" ({self.moved} moved)" if self.moved else ""
        missing = f"; {self.missing} missing" if self.missing else ""
        return (
            f"{self.files} files = {self.indexed} indexed + {self.unchanged} unchanged{moved} + {self.skipped} skipped"
            f" + {self.duplicate} duplicate + {self.unsupported} unsupported{missing}"
        )
