"""Export an index to TensorBoard's projector."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

from ..errors import UsageError, did_you_mean
from ..files import check_writable
from ..index.index import Index
from .console import status


def projector(
    index: str,
    folder: str,
    *,
    field: str | None = None,
    where: str | None = None,
    max_points: int = 10_000,
    image_column: str | None = None,
    root: str | None = None,
) -> None:
    """Write the items of an index as a folder for TensorBoard's projector (`tensorboard --logdir FOLDER`).

    Each point has an id and its cells. For each label it also has the value that the majority of its five nearest
    neighbors have, and the value that the model predicts if the index stores the vectors of the labels; the accuracy of
    both is printed, training rows included. Cells that are paths of images or grey levels are shown as thumbnails.

    Args:
        index: the index.
        folder: the folder to write.
        field: the field of the index to show; the first if not given.
        where: only items that meet this condition, such as "genre = 'waltz' and tempo > 120".
        max_points: a random sample of at most this many items; TensorBoard shows at most 100,000.
        image_column: the column with the images of the points; if not given, the field's if it has any.
        root: the folder that paths of images are relative to, such as the table's; that of the index if not given.
    """
    from ..analyze import labels, tensorboard
    from ..index.selection import items

    if not 2 <= max_points <= 100_000:
        raise UsageError("--max-points", f"must be between 2 and 100000, got {max_points}", "choose another number")
    if Path(folder).exists() and not Path(folder).is_dir():
        raise UsageError(folder, "this is a file, not a folder", "choose another path")
    check_writable(Path(folder) / "tensors.tsv", "points", ".tsv")
    if root is not None and not Path(root).is_dir():
        raise UsageError(root, "there is no such folder", "give the folder that the images' paths are relative to")
    with Index.open(index) as opened, status("Writing points ..."):
        chosen = items(opened, field, where, max_points)
        columns = labels.label_columns(opened, chosen.rows)
        said = {
            "by neighbors": labels.knn_labels(opened, chosen.ids, columns, field) if columns else {},
            "by the model": labels.nearest_label_points(opened, chosen, columns, field),
        }
        name = field or opened.fields[0]
        if image_column is not None and image_column not in (known := opened.columns):
            raise UsageError(image_column, "no row has this column", did_you_mean(image_column, known))
        shown = image_column or name
        place = Path(root) if root is not None else Path(index).parent
        pictures = _pictures(opened, chosen.ids, shown, place, image_column is not None)
    rows = [_row(place, chosen, columns, said, ("split", shown)) for place in range(len(chosen.ids))]
    tensorboard.write(folder, chosen.vectors, rows, pictures, name)
    chance = f" of {chosen.total:,} items, chosen at random" if chosen.total > len(rows) else ""
    seen = "" if pictures is None else f", {sum(one is not None for one in pictures):,} with an image"
    print(f"{folder}: {len(rows):,} points{chance}, {chosen.vectors.shape[1]} dimensions{seen}")
    for one in columns:
        for how in (how for how in said if one in said[how]):
            pairs = [(labels.format_cell(row[one]), row[f"{one} ({how})"]) for row in rows if row[one] is not None]
            right, common = sum(a == b for a, b in pairs), max(Counter(own for own, _ in pairs).values())
            print(f"{one} ({how}): right for {right:,} of {len(pairs):,}; always the commonest for {common:,}")
    print(f"view it: tensorboard --logdir {folder}, then Projector")


def _row(at: int, chosen: Any, columns: list[str], said: Any, last: tuple[str, ...]) -> dict[str, Any]:
    """The labels of a point, each beside what is said of it; TensorBoard shows the first that is no number."""
    row = chosen.rows[at]
    made: dict[str, Any] = {"id": chosen.ids[at]}
    for name in (*columns, *(name for name in row if name not in (*columns, *last)), *last):
        made[name] = row.get(name)
        made |= {f"{name} ({how})": told[name][at] for how, told in said.items() if name in told}
    return {name: cell for name, cell in made.items() if name in columns or cell is not None}


def _pictures(index: Index, ids: list[str], name: str, root: Path, wanted: bool) -> list[Any] | None:
    """Of each item a thumbnail of its cell in a column; None if there are none, an error if they are wanted."""
    from ..analyze.tensorboard import IMAGE_SUFFIXES, thumbnail, thumbnail_size
    from ..index.selection import read

    most = thumbnail_size(len(ids))
    cells = (row.get(name) for row in read(index, ids))
    made = [
        (thumbnail(cell, root, most), isinstance(cell, str) and cell.lower().endswith(IMAGE_SUFFIXES)) for cell in cells
    ]
    if any(one is not None for one, _ in made):
        return [one for one, _ in made]
    fix = "give --root, the folder that their paths are relative to"
    if wanted:
        raise UsageError(name, f"no cell of this column is an image in {root}", fix)
    if any(path for _, path in made):
        print(f"warning: no image of the column {name} was found in {root}; {fix}", file=sys.stderr)
    return None
