"""Cells as people see them: in lists, plots and legends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MAX_LABELS = 50  # distinct values up to which TensorBoard gives each a color
MIN_ITEMS_PER_LABEL = 3  # on average
MAX_TEXT_CHARS = 500  # of a cell that are kept, so that a hundred thousand rows fit in memory
_MAX_LIST_ITEMS = 100
_MAX_NUMBER = 1e100  # the squares of larger ones may not be floats


def displayable_cells(row: Mapping[str, Any]) -> dict[str, Any]:
    """The cells of a row that are numbers, booleans, texts (their beginnings) or lists of texts, without its id."""
    cells = {name: _shorten(cell) for name, cell in row.items() if name != "id"}
    return {name: cell for name, cell in cells.items() if cell is not None and cell != []}


def _shorten(cell: Any) -> Any:
    if isinstance(cell, str):
        return cell[:MAX_TEXT_CHARS]
    if isinstance(cell, list):
        is_texts = all(isinstance(element, str) for element in cell)
        return [element[:MAX_TEXT_CHARS] for element in cell[:_MAX_LIST_ITEMS]] if is_texts else None
    return cell if isinstance(cell, bool | int | float) and abs(cell) < _MAX_NUMBER else None


def format_cell(cell: Any) -> str:
    """Return a cell as the text of a label."""
    if isinstance(cell, bool):
        return str(cell).lower()
    return "" if cell is None else ", ".join(map(str, cell)) if isinstance(cell, list) else str(cell)


def are_labels(cells: Sequence[Any]) -> bool:
    if not all(isinstance(cell, str | int) for cell in cells):
        return False
    return 2 <= len(set(cells)) <= min(MAX_LABELS, len(cells) / MIN_ITEMS_PER_LABEL)
