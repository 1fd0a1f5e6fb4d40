"""`jointembed projector`: an index as a folder for TensorBoard's projector."""

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
    column: str | None = None,
    where: str | None = None,
    most: int = 10_000,
    picture: str | None = None,
    root: str | None = None,
) -> None:
    """Write the items of an index as a folder that `tensorboard --logdir` shows in its projector.

    Each point has its id, its cells, and of each label what its five nearest other items say of it, and what the
    model does if the index keeps the labels' own points; how often they are right is printed, of rows that were
    trained on too. Where cells are paths of pictures, or hold grey levels, these stand for the points.

    Args:
        index: the index.
        folder: where to write; made if need be.
        column: which of the index's columns; its first if not given.
        where: a condition on the columns, such as "genre = 'waltz' and tempo > 120".
        most: points at most, of more items a random choice; TensorBoard shows 100,000.
        picture: the column whose pictures stand for the points; the indexed one, if it has any, if not given.
        root: the folder where paths of pictures begin, such as the table's; that of the index if not given.
    """
    from ..analyze import tensorboard as made
    from ..index.selection import items

    if not 2 <= most <= 100_000:
        raise UsageError("most", f"{most} points cannot be shown", "use a number from 2 to 100000")
    if Path(folder).exists() and not Path(folder).is_dir():
        raise UsageError(folder, "this is a file, not a folder", "choose another name")
    check_writable(Path(folder) / "tensors.tsv", "points", ".tsv")
    if root is not None and not Path(root).is_dir():
        raise UsageError(root, "there is no such folder", "give the one where the pictures' paths begin")
    with Index.open(index) as opened, status("Writing points ..."):
        chosen = items(opened, column, where, most)
        columns = made.labelling(opened, chosen.rows)
        said = {
            "by neighbours": made.neighbours(opened, chosen.ids, columns, column) if columns else {},
            "by the model": made.predicted(opened, chosen, columns, column),
        }
        name = column or opened.columns[0]
        if picture is not None and picture not in (known := opened.meta()["cells"]):
            raise UsageError(picture, "no row has this column", did_you_mean(picture, known))
        shown = picture or name
        place = Path(root) if root is not None else Path(index).parent
        pictures = _pictures(opened, chosen.ids, shown, place, picture is not None)
    rows = [_row(place, chosen, columns, said, ("split", shown)) for place in range(len(chosen.ids))]
    made.write(folder, chosen.vectors, rows, pictures, name)
    chance = f" of {chosen.total:,} items, chosen at random" if chosen.total > len(rows) else ""
    seen = "" if pictures is None else f", {sum(one is not None for one in pictures):,} with a picture"
    print(f"{folder}: {len(rows):,} points{chance}, {chosen.vectors.shape[1]} dimensions{seen}")
    for one in columns:
        for how in (how for how in said if one in said[how]):
            pairs = [(made.text(row[one]), row[f"{one} ({how})"]) for row in rows if row[one] is not None]
            right, common = sum(a == b for a, b in pairs), max(Counter(own for own, _ in pairs).values())
            print(f"{one} ({how}): right for {right:,} of {len(pairs):,}; always the commonest for {common:,}")
    print(f"see: tensorboard --logdir {folder}, then Projector")


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
    from ..analyze.tensorboard import PICTURES, side, thumbnail
    from ..index.selection import read

    most = side(len(ids))
    cells = (row.get(name) for row in read(index, ids))
    made = [(thumbnail(cell, root, most), isinstance(cell, str) and cell.lower().endswith(PICTURES)) for cell in cells]
    if any(one is not None for one, _ in made):
        return [one for one, _ in made]
    fix = "say with --root where their paths begin"
    if wanted:
        raise UsageError(name, f"no cell of this column is a picture in {root}", fix)
    if any(path for _, path in made):
        print(f"warning: none of the pictures of the column {name} is in {root}; {fix}", file=sys.stderr)
    return None
