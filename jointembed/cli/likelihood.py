"""The figures of a model that says how likely each piece of a history is."""

from __future__ import annotations

from typing import Any

from ..errors import UsageError


def likelihood(space: Any, rows: Any, column: str, split: str, unit: str | None) -> dict[str, Any]:
    """Nats a piece over the rows of a split, with an interval over them, or over what they belong to.

    Args:
        space: the model.
        rows: of the table.
        column: of the histories.
        split: rows that are judged; `all` takes every row.
        unit: column of what rows belong to.

    Raises:
        UsageError: the table has no such column, or no row to judge or to compare with.
    """
    from ..evaluation import prediction
    from ..indexing.from_table import present, trained
    from ..objectives.likelihood import frequent, nats

    known, kept = trained(rows, column, unit), present(space, rows, column, split)
    if not known:
        raise UsageError(column, "no row of train has it", "give the table that the model was trained on")
    cells = [cell for _, cell in kept]
    given, plain = nats(space, column, cells), frequent(space, column, known, cells)
    found = prediction.likelihood(given, plain, [row.get(unit) for row, _ in kept] if unit else None)
    return {"metrics": found, "queries": len(kept), "unanswerable": 0, "pool": space.reader(column).size}
