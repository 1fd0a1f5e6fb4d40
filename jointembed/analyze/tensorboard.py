"""A folder for TensorBoard's projector: vectors, a line of labels for each, and thumbnails, in its own format.

Letters: N points, D dimension.

The format is that of tensorboard/plugins/projector. Its reader takes vectors for binary only if they are no UTF-8,
skips lines of labels that are blank, takes a first line for a heading exactly if it has a tab, and cuts a sprite into
as many rows and columns as whole thumbnails fit; what is written here keeps to that.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from .. import files
from ..errors import UsageError, escape_control
from ..evaluation.ranking import prepare, score
from ..index.index import Index
from ..index.selection import Items, described, read

Image = npt.NDArray[np.uint8]

WIDEST = 8_192  # pixels that a sprite may have either way: what TensorBoard takes
SIDE = 64  # pixels of a thumbnail at most
NEAREST = 5  # neighbours that vote
MOST = 50  # different values up to which TensorBoard gives each a colour
PICTURES = (".png", ".bmp", ".webp", ".jpg", ".jpeg", ".npy")
BLANK = 128  # the grey of a point without a picture
LARGEST = 50_000_000  # pixels of a picture that is opened


def write(
    folder: Path | str,
    vectors: npt.NDArray[np.floating[Any]],
    rows: Sequence[Mapping[str, Any]],
    pictures: Sequence[Image | None] | None = None,
    name: str = "vectors",
) -> None:
    """Write a folder that `tensorboard --logdir FOLDER` shows.

    Vectors are decimal text that gives the same float32 again; those of less than 3 dimensions get zeros, which changes
    no distance. Tabs, line ends and what else would not show are written out in labels.

    Args:
        folder: made if need be; its other files are left alone.
        vectors: (N, D), finite.
        rows: of each point its labels, by column; the first column is what TensorBoard shows at a point.
        pictures: of each point a thumbnail, (H, W) grey or (H, W, 3) RGB of at most `side(N)` pixels, or None.
        name: of the vectors.

    Raises:
        UsageError: there is not one vector and one row for each point, or there is only one point, which TensorBoard
            would not show.
    """
    if len(vectors) < 2:
        raise UsageError(folder, f"TensorBoard shows nothing of {len(vectors)} points", "give at least 2")
    if len(vectors) != len(rows) or (pictures is not None and len(pictures) != len(rows)):
        raise UsageError(
            folder, f"{len(vectors)} vectors came for {len(rows)} rows", "give one of each for every point"
        )
    folder = Path(folder)
    wide = np.asarray(vectors, np.float32)
    wide = np.pad(wide, ((0, 0), (0, max(0, 3 - wide.shape[1]))))
    files.write(folder / "tensors.tsv", lambda file: _tensors(file, wide))
    files.write(folder / "metadata.tsv", "".join(f"{line}\n" for line in _lines(rows)))
    sprite = ""
    if pictures is not None:
        sheet, edge = _sprite(pictures)
        files.write(folder / "sprite.png", lambda file: _png(file, sheet))
        sprite = f'  sprite {{\n    image_path: "sprite.png"\n{f"    single_image_dim: {edge}{chr(10)}" * 2}  }}\n'
    called = escape_control(name).replace("\\", "\\\\").replace('"', '\\"')
    config = (
        f'embeddings {{\n  tensor_name: "{called}"\n  tensor_shape: {wide.shape[0]}\n  tensor_shape: {wide.shape[1]}\n'
        f'  tensor_path: "tensors.tsv"\n  metadata_path: "metadata.tsv"\n{sprite}}}\n'
    )
    files.write(folder / "projector_config.pbtxt", config)  # last: what it names is there


def side(count: int) -> int:
    """How many pixels a thumbnail may have either way where there are so many points."""
    return min(SIDE, WIDEST // _grid(count))


def thumbnail(cell: Any, root: Path, most: int) -> Image | None:
    """The picture of a cell, no larger than `most` either way: (H, W) or (H, W, 3); None if it is none.

    Args:
        cell: a path of a PNG, BMP, WebP, JPEG or .npy file; grey levels in rows, or flat if they make a square; or a
            list whose first element is one of these.
        root: the folder where paths begin, and out of which none leads.
        most: pixels.
    """
    if isinstance(cell, list) and cell and isinstance(cell[0], str):
        cell = cell[0]
    if not isinstance(cell, str | list):
        return None
    from PIL import Image

    try:
        if isinstance(cell, list):
            image = Image.fromarray(_grey(np.array(cell, np.float64)))
        else:
            path = (root / cell).resolve()
            if path.suffix.lower() not in PICTURES or not path.is_relative_to(root.resolve()) or not path.is_file():
                return None
            if path.suffix.lower() == ".npy":
                image = Image.fromarray(_grey(np.load(path, allow_pickle=False)))
            else:
                with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
                    image = Image.open(path, formats=["PNG", "BMP", "WEBP", "JPEG"])
        with image:
            if image.width * image.height > LARGEST:
                return None
            image.draft("RGB", (most, most))
            if image.mode in ("I;16", "I", "F"):  # more than bytes, which convert would clip
                made = Image.fromarray(_grey(np.array(image)))
            else:
                made = image.convert("L" if image.mode in ("1", "L") else "RGB")
            made.thumbnail((most, most))
            return np.array(made)
    except (OSError, ValueError, TypeError, SyntaxError, EOFError, Image.DecompressionBombError):
        return None  # a file that is cut, or no picture after all


def labelling(index: Index, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns that label items: 2 to 50 values of text or whole numbers here, each three times on average."""
    left = {"split", *json.loads(index.get_meta("clusters") or "{}")}
    names = dict.fromkeys(name for row in rows for name in row if name not in left)
    return [name for name in names if _labels([row[name] for row in rows if name in row])]


def neighbours(
    index: Index, ids: Sequence[str], names: Sequence[str], column: str | None = None
) -> dict[str, list[str | None]]:
    """Of each column of labels what most of the five nearest other items of the index have, for each item.

    Where several labels are as frequent, that of the nearest of them.

    Args:
        index: the index.
        ids: the items.
        names: the columns of labels.
        column: of the vectors.
    """
    every, vectors = index.vectors(column)
    place = {id: at for at, id in enumerate(every)}
    mine = np.array([place[id] for id in ids])
    nearest, _ = index.search_batch(vectors[mine], NEAREST, column, exclude=[[id] for id in ids])
    used, where = np.unique(nearest[nearest >= 0], return_inverse=True)
    slots = np.full(nearest.shape, -1)
    slots[nearest >= 0] = where
    rows = [described(row) for row in read(index, [every[at] for at in used.tolist()])]
    made: dict[str, list[str | None]] = {name: [] for name in names}
    for near in slots.tolist():
        voters = [rows[at] for at in near if at >= 0]
        for name in names:  # of equals the counter gives the one that came first, which is the nearest
            votes = Counter(text(voter[name]) for voter in voters if name in voter)
            made[name].append(votes.most_common(1)[0][0] if votes else None)
    return made


def predicted(
    index: Index, items: Items, names: Sequence[str], column: str | None = None
) -> dict[str, list[str | None]]:
    """Of each column whose labels all are points of the model's space the nearest of these points, for each item.

    Args:
        index: the index, which keeps the points; see `Index.vocabulary`.
        items: the items.
        names: the columns of labels.
        column: of the vectors.
    """
    words, vectors = index.vocabulary(column)
    place, metric = {word: at for at, word in enumerate(words)}, str(index.field_info(column)["metric"])
    made: dict[str, list[str | None]] = {}
    for name in names:
        labels = sorted({text(row[name]) for row in items.rows if name in row})
        if all(label in place for label in labels):
            asked, pool = prepare(items.vectors, vectors[[place[label] for label in labels]], metric)
            made[name] = [labels[at] for at in score(asked, pool, metric).argmax(1)]
    return made


def text(cell: Any) -> str:
    """A cell as it stands in the labels, before what would not show is written out."""
    if isinstance(cell, bool):
        return str(cell).lower()
    return "" if cell is None else ", ".join(map(str, cell)) if isinstance(cell, list) else str(cell)


def _labels(cells: Sequence[Any]) -> bool:
    return all(isinstance(cell, str | int) for cell in cells) and 2 <= len(set(cells)) <= min(MOST, len(cells) / 3)


def _lines(rows: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    columns = list(dict.fromkeys(name for row in rows for name in row)) or [""]
    if len(columns) > 1:  # a single column must not have a heading
        yield "\t".join(escape_control(name) or "-" for name in columns)
    for row in rows:
        cells = [escape_control(text(row.get(name))) for name in columns]
        yield "\t".join(cells if "".join(cells).strip() else ["-", *cells[1:]])  # a blank line would not count


def _tensors(file: IO[bytes], vectors: npt.NDArray[np.float32]) -> None:
    for vector in vectors:
        file.write(("\t".join(f"{one:.9g}" for one in vector.tolist()) + "\n").encode())


def _sprite(pictures: Sequence[Image | None]) -> tuple[Image, int]:
    """A square of squares, row by row, each with a picture in its middle; and the side of one of them."""
    grid = _grid(len(pictures))
    edge = min(side(len(pictures)), max((max(one.shape[:2]) for one in pictures if one is not None), default=1))
    sheet = np.zeros((grid * edge, grid * edge, 3), np.uint8)
    for place, one in enumerate(pictures):
        top, left = place // grid * edge, place % grid * edge
        if one is None:
            sheet[top : top + edge, left : left + edge] = BLANK
            continue
        tall, wide = min(edge, one.shape[0]), min(edge, one.shape[1])
        top, left = top + (edge - tall) // 2, left + (edge - wide) // 2
        sheet[top : top + tall, left : left + wide] = (one if one.ndim == 3 else one[:, :, None])[:tall, :wide]
    return sheet, edge


def _grid(count: int) -> int:
    return int(np.ceil(np.sqrt(count)))


def _png(file: IO[bytes], sheet: Image) -> None:
    from PIL import Image

    Image.fromarray(sheet).save(file, format="PNG")


def _grey(values: npt.NDArray[Any]) -> Image:
    """Levels as bytes, the largest of them white; flat ones in a square."""
    if values.ndim == 1:
        edge = round(float(np.sqrt(len(values))))
        values = values.reshape(edge, edge)  # ValueError if they make none
    if values.ndim not in (2, 3) or min(values.shape[:2]) < 4 or (values.ndim == 3 and values.shape[2] != 3):
        raise ValueError(values.shape)
    if values.dtype == np.uint8:
        return values
    scaled = np.nan_to_num(values.astype(np.float64))
    scaled = np.maximum(scaled, 0) / max(float(scaled.max()), 1e-12)
    return np.asarray(np.round(255 * scaled), np.uint8)
