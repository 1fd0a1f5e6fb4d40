"""Tables that are opened as the table was that a model has been trained on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from .. import files
from ..space.model_folder import CONFIG, TABLE, read_json
from .join import JoinedRows, resolve
from .rows import Rows, is_text_file


def open_as_trained(table: Any, model: str | Path, add_split: bool = True, encoding: str | None = None) -> Rows:
    """The rows of a table, joined and split as for the training of a model.

    Args:
        table: see `Rows.open`.
        model: the checkpoint.
        add_split: split the rows; a column `split` in the table stays.
        encoding: of .csv files that are not in Unicode; that of the training if not given.
    """
    settings = _read_settings(files.checkpoint(model))
    types, trained = settings.get("types", {}), settings.get("encoding")
    rows = Rows.open(table, types, encoding or (trained if is_text_file(table) else None))
    joined = {
        key: path
        for key, path in settings.get("join", {}).items()
        if key in rows.columns and resolve(path, rows.root).absolute() != Path(rows.name).absolute()
    }
    rows = JoinedRows(rows, joined, types, encoding or trained) if joined else rows
    report_unmatched(rows)
    group = settings.get("group") if add_split and "split" not in rows.columns else None
    return rows.with_split(group) if group else rows


def report_unmatched(rows: Rows) -> None:
    """Print how many keys of joined rows are in no other table."""
    for sentence in rows.unmatched if isinstance(rows, JoinedRows) else ():
        line = f"warning: {sentence}. Fix: correct these keys, unless the rows may lack the columns"
        print(line, file=sys.stderr)


def _read_settings(file: Path) -> dict[str, Any]:
    """How the table of a model was read."""
    if file.name == CONFIG:  # its weights are of no use here
        settings = read_json(file).get(TABLE, {})
        return settings if isinstance(settings, dict) else {}
    from ..space import checkpoint

    return dict(checkpoint.read(file).get(TABLE, {}))
