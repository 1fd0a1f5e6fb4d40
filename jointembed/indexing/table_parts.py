"""The rows of a table that have a cell of a model's column, embedded some at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from .table_cells import naming_row, rows_with_cell


class TableParts:
    """The rows of a table that have a cell of a column, embedded part by part.

    Rows whose files cannot be read are left out of their part and reported, so that the others stay in theirs.

    Args:
        space: of the column.
        rows: the table.
        column: of the space.
        split: the rows of this split only, or `all`.
        strict: raise an error instead of leaving rows out.

    Raises:
        UsageError: see `rows_with_cell`.
    """

    def __init__(self, space: Any, rows: Any, column: str, split: str = "all", strict: bool = False) -> None:
        self.space, self.rows, self.column, self.split, self.strict = space, rows, column, split, strict
        self._pairs: list[Any] = rows_with_cell(space, rows, column, split, unique_ids=True)
        digest = hashlib.blake2b(digest_size=16)
        for row, _ in self._pairs:
            digest.update(f"{row['id']} {row['_digest']};".encode("utf-8", "surrogatepass"))
        self.signature = digest.hexdigest()  # of the rows and their cells

    def __len__(self) -> int:
        return len(self._pairs)

    def embed(self, start: int, size: int, embed: Callable[[Sequence[Any]], Any]) -> tuple[list[dict[str, Any]], Any]:
        """The rows of a part, and what `embed` gives for their cells.

        Raises:
            SkippedError: files cannot be read, and `strict` is set.
        """
        from ..data.unreadable import skip_unreadable

        is_first = True

        def compute() -> tuple[list[dict[str, Any]], Any]:
            nonlocal is_first
            if not is_first:
                self._leave_out_unreadable()
            is_first = False
            part = [pair for pair in self._pairs[start : start + size] if pair is not None]
            with naming_row(self.rows.name, self.space, self.column, part):
                return [row for row, _ in part], embed([cell for _, cell in part])

        return skip_unreadable(self.rows, self.space, [self.column], compute, self.strict)

    def _leave_out_unreadable(self) -> None:
        """Replace the rows without a cell by None: the cells of files that cannot be read are missing by now."""
        readable = iter([*rows_with_cell(self.space, self.rows, self.column, self.split), None])
        pair = next(readable)
        for at, old in enumerate(self._pairs):
            is_same = pair is not None and old is not None and pair[0]["id"] == old[0]["id"]
            self._pairs[at], pair = (pair, next(readable)) if is_same else (None, pair)
