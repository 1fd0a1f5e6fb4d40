"""Export an index to TensorBoard's projector."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..index.index import Index


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
    from ..analyze import labels
    from ..errors import UsageError, did_you_mean
    from ..files import check_writable
    from ..index.index import Index
    from ..index.selection import select
    from ..sharing import tensorboard
    from .progress import status

    if not 2 <= max_points <= 100_000:
        raise UsageError("--max-points", f"must be between 2 and 100000, got {max_points}", "choose another number")
    if root is not None and not Path(root).is_dir():
        raise UsageError(root, "this folder does not exist", "give the folder that the images' paths are relative to")
    with Index.open(index) as opened, status("Writing points ..."):
        if Path(folder).exists() and not Path(folder).is_dir():
            raise UsageError(folder, "this is a file, not a folder", "choose another path")
        check_writable(Path(folder) / "tensors.tsv", "points", ".tsv")
        if image_column is not None and image_column not in opened.columns:
            raise UsageError(image_column, "no row has this column", did_you_mean(image_column, opened.columns))
        points = select(opened, field, where, max_points)
        columns = labels.label_columns(opened, points.rows)
        predictions = {
            "by neighbors": labels.knn_labels(opened, points.ids, columns, field) if columns else {},
            "by the model": labels.nearest_label_points(opened, points, columns, field),
        }
        name = field or opened.fields[0]
        source = image_column or name
        images_root = Path(root) if root is not None else Path(index).parent
        images = _thumbnails(opened, points.ids, source, images_root, required=image_column is not None)
    rows = [_row(place, points, columns, predictions, ("split", source)) for place in range(len(points.ids))]
    tensorboard.write(folder, points.vectors, rows, images, name, columns)
    sampled = f" of {points.available:,} items, chosen at random" if points.available > len(rows) else ""
    count = "" if images is None else f", {sum(image is not None for image in images):,} with an image"
    print(f"{folder}: {len(rows):,} points{sampled}, {points.vectors.shape[1]} dimensions{count}")
    _print_accuracy(rows, columns, predictions)
    colors = f"; the bookmarks below color the points by {', '.join(columns)}" if columns else ""
    print(f"view it: tensorboard --logdir {folder}, then Projector{colors}")


def _print_accuracy(rows: list[dict[str, Any]], columns: list[str], predictions: dict[str, dict[str, Any]]) -> None:
    """Print how often each prediction of a label is right, beside always predicting the commonest one."""
    from collections import Counter

    from ..display import format_cell

    for column in columns:
        for method, predicted in predictions.items():
            if column in predicted:
                key = f"{column} ({method})"
                pairs = [(format_cell(row[column]), row.get(key)) for row in rows if row[column] is not None]
                right = sum(label == prediction for label, prediction in pairs)
                commonest = max(Counter(label for label, _ in pairs).values())
                print(f"{key}: right for {right:,} of {len(pairs):,}; always the commonest for {commonest:,}")


def _row(
    place: int, points: Any, columns: list[str], predictions: dict[str, dict[str, Any]], last: tuple[str, ...]
) -> dict[str, Any]:
    """The cells of a point, each label beside its predictions; TensorBoard shows the first that is not a number."""
    cells = points.rows[place]
    row: dict[str, Any] = {"id": points.ids[place]}
    for name in (*columns, *(name for name in cells if name not in (*columns, *last)), *last):
        row[name] = cells.get(name)
        row |= {f"{name} ({method})": labels[name][place] for method, labels in predictions.items() if name in labels}
    return {name: cell for name, cell in row.items() if name in columns or cell is not None}


def _thumbnails(index: Index, ids: list[str], column: str, root: Path, required: bool) -> list[Any] | None:
    """A thumbnail of each item's cell in a column.

    Returns:
        None if no cell is an image.

    Raises:
        UsageError: no cell is an image, but that is required.
    """
    import sys

    from ..errors import UsageError
    from ..index.selection import iter_rows
    from ..sharing.tensorboard import IMAGE_SUFFIXES, thumbnail, thumbnail_size

    size = thumbnail_size(len(ids))
    cells = [row.get(column) for row in iter_rows(index, ids)]
    images = [thumbnail(cell, root, size) for cell in cells]
    if any(image is not None for image in images):
        return images
    fix = "give --root, the folder that their paths are relative to"
    if required:
        raise UsageError(column, f"no cell of this column is an image in {root}", fix)
    if any(isinstance(cell, str) and cell.lower().endswith(IMAGE_SUFFIXES) for cell in cells):
        print(f"warning: no image of the column {column} was found in {root}; {fix}", file=sys.stderr)
    return None
