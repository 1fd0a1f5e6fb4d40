"""Export to TensorBoard's projector: vectors, a line of labels for each, and thumbnails.

Letters: N points, D dimension.

The format is that of tensorboard/plugins/projector. Its reader skips blank lines of labels, takes the first line as a
heading only if it has a tab, and cuts a sprite into as many whole thumbnails as fit.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from .. import files
from ..display import format_cell
from ..errors import UsageError, escape_control

Image = npt.NDArray[np.uint8]

MAX_SPRITE_SIDE = 8_192  # pixels, TensorBoard's limit
MAX_THUMBNAIL_SIDE = 64  # pixels
IMAGE_SUFFIXES = (".png", ".bmp", ".webp", ".jpg", ".jpeg", ".npy")
MAX_BOOKMARKS = 4
BLANK_GREY = 128  # of a point without an image
MAX_IMAGE_PIXELS = 50_000_000


def write(
    folder: Path | str,
    vectors: npt.NDArray[np.floating[Any]],
    rows: Sequence[Mapping[str, Any]],
    thumbnails: Sequence[Image | None] | None = None,
    name: str = "vectors",
    color_columns: Sequence[str] = (),
) -> None:
    """Write a folder that `tensorboard --logdir FOLDER` shows.

    Vectors are written as decimal text that reads back as the same float32. Those of fewer than 3 dimensions are padded
    with zeros, which changes no distance. Tabs, line ends and other control characters are escaped in labels.

    Args:
        folder: created if it does not exist; its other files are left alone.
        vectors: (N, D), finite.
        rows: the labels of each point, by column; TensorBoard shows the first column at the points.
        thumbnails: for each point an image, (H, W) grey or (H, W, 3) RGB of at most `thumbnail_size(N)`, or None.
        name: of the vectors.
        color_columns: columns that get a bookmark each, which colors the points by them; see `_bookmark`.

    Raises:
        UsageError: the numbers of vectors, rows and thumbnails differ, or there are fewer than 2 points.
    """
    if len(vectors) < 2:
        raise UsageError(folder, f"TensorBoard needs at least 2 points, got {len(vectors)}", "choose more items")
    if len(vectors) != len(rows) or (thumbnails is not None and len(thumbnails) != len(rows)):
        wrong = f"got {len(vectors)} vectors for {len(rows)} rows"
        raise UsageError(folder, wrong, "give one vector, one row and one thumbnail for each point")
    folder = Path(folder)
    padded = np.asarray(vectors, np.float32)
    padded = np.pad(padded, ((0, 0), (0, max(0, 3 - padded.shape[1]))))
    files.write(folder / "tensors.tsv", lambda file: _write_tensors(file, padded))
    files.write(folder / "metadata.tsv", "".join(f"{line}\n" for line in _metadata_lines(rows)))
    sprite = ""
    if thumbnails is not None:
        sheet, side = _sprite(thumbnails)
        files.write(folder / "sprite.png", lambda file: _write_png(file, sheet))
        sprite = f'  sprite {{\n    image_path: "sprite.png"\n{f"    single_image_dim: {side}{chr(10)}" * 2}  }}\n'
    bookmarks = ""
    if color_columns:
        views = [_bookmark(padded, column) for column in color_columns[:MAX_BOOKMARKS]]
        files.write(folder / "bookmarks.json", json.dumps(views))
        bookmarks = '  bookmarks_path: "bookmarks.json"\n'
    escaped_name = escape_control(name).replace("\\", "\\\\").replace('"', '\\"')
    shape = "".join(f"  tensor_shape: {size}\n" for size in padded.shape)
    config = (
        f'embeddings {{\n  tensor_name: "{escaped_name}"\n{shape}'
        f'  tensor_path: "tensors.tsv"\n  metadata_path: "metadata.tsv"\n{bookmarks}{sprite}}}\n'
    )
    files.write(folder / "projector_config.pbtxt", config)  # last, when the files that it names exist


def _bookmark(vectors: npt.NDArray[np.float32], column: str) -> dict[str, Any]:
    """A view of points (N, D) in TensorBoard's format: colored by a column, in their three dimensions as they are.

    TensorBoard itself opens in one color, and spheres the data, which moves clusters. Of more than three dimensions,
    the first three principal components are shown.
    """
    points = vectors.astype(np.float64)
    if points.shape[1] > 3:
        points = points - points.mean(0)
        points = points @ np.linalg.eigh(points.T @ points)[1][:, :-4:-1]
    return {
        "label": f"colored by {escape_control(column)}",
        "isSelected": False,
        "selectedProjection": "pca",
        "pcaComponentDimensions": [0, 1, 2],
        "projections": [{f"pca-{at}": round(x, 5) for at, x in enumerate(point)} for point in points.tolist()],
        "dataSetDimensions": list(vectors.shape),
        "selectedColorOptionName": escape_control(column),
        "selectedLabelOption": escape_control(column),
        "forceCategoricalColoring": True,
        "selectedPoints": [],
        # The settings of the other projections, as TensorBoard begins with them.
        "tSNEIteration": 0, "tSNEPerplexity": 30, "tSNELearningRate": 10, "tSNEis3d": True,
        "umapIs3d": True, "umapNeighbors": 15, "umapMinDist": 0.1,
        "customSelectedSearchByMetadataOption": escape_control(column),
        **{f"custom{place}Text": "" for place in ("XLeft", "XRight", "YUp", "YDown")},
    }  # fmt: skip


def thumbnail_size(count: int) -> int:
    """Return the largest side in pixels of each thumbnail of `count` points."""
    return min(MAX_THUMBNAIL_SIDE, MAX_SPRITE_SIDE // _grid(count))


def thumbnail(cell: Any, root: Path, size: int) -> Image | None:
    """Return the image of a cell, (H, W) or (H, W, 3); None if the cell is not an image.

    Args:
        cell: a path of a PNG, BMP, WebP, JPEG or .npy file; grey levels in rows, or flat if they make a square; or a
            list whose first element is a path.
        root: the folder that paths are relative to; those that lead out of it are not opened.
        size: the largest side in pixels.
    """
    if isinstance(cell, list) and cell and isinstance(cell[0], str):
        cell = cell[0]
    if not isinstance(cell, str | list):
        return None
    from PIL import Image

    try:
        if isinstance(cell, list):
            image = Image.fromarray(_grey_levels(np.array(cell, np.float64)))
        else:
            path = (root / cell).resolve()
            inside = path.is_relative_to(root.resolve())
            if path.suffix.lower() not in IMAGE_SUFFIXES or not inside or not path.is_file():
                return None
            if path.suffix.lower() == ".npy":
                image = Image.fromarray(_grey_levels(np.load(path, allow_pickle=False)))
            else:
                with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
                    image = Image.open(path, formats=["PNG", "BMP", "WEBP", "JPEG"])
        with image:
            if image.width * image.height > MAX_IMAGE_PIXELS:
                return None
            image.draft("RGB", (size, size))
            if image.mode in ("I;16", "I", "F"):  # convert() would clip these to bytes
                converted = Image.fromarray(_grey_levels(np.array(image)))
            else:
                converted = image.convert("L" if image.mode in ("1", "L") else "RGB")
            converted.thumbnail((size, size))
            return np.array(converted)
    except (OSError, ValueError, TypeError, SyntaxError, EOFError, Image.DecompressionBombError):
        return None  # a truncated file, or not an image after all


def _metadata_lines(rows: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    columns = list(dict.fromkeys(name for row in rows for name in row)) or [""]
    if len(columns) > 1:  # TensorBoard expects no heading of a single column
        yield "\t".join(escape_control(name) or "-" for name in columns)
    for row in rows:
        cells = [escape_control(format_cell(row.get(name))) for name in columns]
        yield "\t".join(cells if "".join(cells).strip() else ["-", *cells[1:]])  # a blank line would be skipped


def _write_tensors(file: IO[bytes], vectors: npt.NDArray[np.float32]) -> None:
    for vector in vectors:
        file.write(("\t".join(f"{number:.9g}" for number in vector.tolist()) + "\n").encode())


def _sprite(thumbnails: Sequence[Image | None]) -> tuple[Image, int]:
    """Return a square of squares with a thumbnail in the middle of each, row by row, and the side of one square."""
    grid = _grid(len(thumbnails))
    largest = max((max(image.shape[:2]) for image in thumbnails if image is not None), default=1)
    side = min(thumbnail_size(len(thumbnails)), largest)
    sheet = np.zeros((grid * side, grid * side, 3), np.uint8)
    for at, image in enumerate(thumbnails):
        top, left = at // grid * side, at % grid * side
        if image is None:
            sheet[top : top + side, left : left + side] = BLANK_GREY
            continue
        height, width = min(side, image.shape[0]), min(side, image.shape[1])
        top, left = top + (side - height) // 2, left + (side - width) // 2
        rgb = image if image.ndim == 3 else image[:, :, None]
        sheet[top : top + height, left : left + width] = rgb[:height, :width]
    return sheet, side


def _grid(count: int) -> int:
    return int(np.ceil(np.sqrt(count)))


def _write_png(file: IO[bytes], sheet: Image) -> None:
    from PIL import Image

    Image.fromarray(sheet).save(file, format="PNG")


def _grey_levels(values: npt.NDArray[Any]) -> Image:
    """Return levels as bytes, scaled so that the largest is white; flat ones in a square."""
    if values.ndim == 1:
        side = round(float(np.sqrt(len(values))))
        values = values.reshape(side, side)  # ValueError if they do not make a square
    if values.ndim not in (2, 3) or min(values.shape[:2]) < 4 or (values.ndim == 3 and values.shape[2] != 3):
        raise ValueError(values.shape)
    if values.dtype == np.uint8:
        return values
    scaled = np.nan_to_num(values.astype(np.float64))
    scaled = np.maximum(scaled, 0) / max(float(scaled.max()), 1e-12)
    return np.asarray(np.round(255 * scaled), np.uint8)
