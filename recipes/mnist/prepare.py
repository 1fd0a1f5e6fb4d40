"""MNIST as a table: the columns id, split, bitmap (784 grey levels) and digit ("0" to "9").

    python recipes/mnist/prepare.py data/mnist out/mnist

The source is the four idx files, as `.gz` or unpacked, in the folder itself or in its `MNIST/raw`. The split `test` is
t10k; a twelfth of the training rows (5000 of 60000) is `dev`: choose epochs and settings on it, and report on `test`.
"""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np

from jointembed import recipe_tools
from jointembed.errors import DamagedError, UsageError

FETCH = (
    "fetch {train,t10k}-{images-idx3,labels-idx1}-ubyte.gz (11 MB, CC BY-SA 3.0) from "
    "https://storage.googleapis.com/cvdf-datasets/mnist/ into data/mnist, then run prepare.py data/mnist out/mnist"
)


def find(source: Path, name: str) -> Path | None:
    """The idx file of this name in a source, gzipped or not."""
    folders = source, source / "MNIST" / "raw", source / "raw"
    places = [folder / (name + end) for folder in folders for end in (".gz", "")]
    return next((place for place in places if place.is_file()), None)


def read_idx(path: Path) -> np.ndarray:
    """The unsigned bytes of an idx file, in their shape: http://yann.lecun.com/exdb/mnist/ describes the format."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            content = file.read()
        if content[:3] != b"\0\0\x08":
            raise ValueError("not an idx file of bytes")
        shape = np.frombuffer(content, ">u4", count=content[3], offset=4).astype(int)
        start = 4 + 4 * len(shape)
        return np.frombuffer(content, np.uint8, count=math.prod(shape), offset=start).reshape(shape)
    except (ValueError, IndexError, EOFError, gzip.BadGzipFile) as error:
        raise DamagedError(path, f"cannot be read ({error})", "fetch it again") from None


def handwritten(source: Path, dev: float) -> list[recipe_tools.Row]:
    """The rows of MNIST, with a share `dev` of the training rows as the split `dev`.

    Raises:
        UsageError: the training and test files are missing.
        DamagedError: a file is truncated, or the numbers of labels and images differ.
    """
    rows: list[recipe_tools.Row] = []
    for part, split in (("train", "train"), ("t10k", "test")):
        names = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
        images, labels = (find(source, name) for name in names)
        if images is None and labels is None:
            continue
        if images is None or labels is None:
            raise UsageError(source, f"{names[images is not None]}.gz is missing", FETCH)
        bitmaps, digits = read_idx(images), read_idx(labels)
        if bitmaps.shape != (len(digits), 28, 28):
            raise DamagedError(
                labels, f"{len(digits)} labels do not fit {bitmaps.shape} bytes of images", "fetch both again"
            )
        ids = [f"{split}-{number:05d}" for number in range(len(digits))]
        dev_ids = recipe_tools.hold_out(ids, dev) if split == "train" else set()
        rows += (
            {"id": id, "split": "dev" if id in dev_ids else split, "bitmap": bitmap.reshape(-1), "digit": str(digit)}
            for id, bitmap, digit in zip(ids, bitmaps, digits, strict=True)
        )
    if not rows:
        raise UsageError(source, "train-images-idx3-ubyte.gz is missing", FETCH)
    return rows


def main() -> None:
    sources, out, options = recipe_tools.Arguments(__doc__, FETCH).read()
    rows = [row for source in sources for row in handwritten(source, 1 / 12)]
    recipe_tools.write_rows(out, rows, split=options.split)


if __name__ == "__main__":
    recipe_tools.run_script(main)
