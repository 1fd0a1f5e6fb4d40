"""What became of the files of a folder, counted twice so that none goes astray."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UserError


@dataclass
class ScanReport:
    """The counts of one scan: seen = indexed + unchanged + skipped + duplicate + unsupported.

    Args:
        seen: entries of the folder that the walk came to, without folders and hidden files.
        indexed: decoded, embedded and committed.
        unchanged: in the index already, under this path or, `moved` of them, under one that is gone.
        skipped: left out, each for a reason that the index keeps.
        duplicate: the same bytes as another file, whose row they share.
        unsupported: no sound files by their names.
        moved: how many of the unchanged have another path than before.
        missing: files of the index that are not in the folder any more; they are marked, and kept.
    """

    seen: int = 0
    indexed: int = 0
    unchanged: int = 0
    skipped: int = 0
    duplicate: int = 0
    unsupported: int = 0
    moved: int = 0
    missing: int = 0

    def check(self) -> None:
        """Raise UserError unless the books balance: a file was lost on the way."""
        if self.seen != self.indexed + self.unchanged + self.skipped + self.duplicate + self.unsupported:
            raise UserError("books", f"they do not balance: {self}", "report this; the index itself is whole")

    def __str__(self) -> str:
        moved = f" ({self.moved} moved)" if self.moved else ""
        missing = f"; {self.missing} missing" if self.missing else ""
        return (
            f"{self.seen} seen = {self.indexed} indexed + {self.unchanged} unchanged{moved} + {self.skipped} skipped"
            f" + {self.duplicate} duplicate + {self.unsupported} unsupported{missing}"
        )
