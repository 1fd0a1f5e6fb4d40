"""What the columns of a table seem to be: sounds, bitmaps, texts, labels, lists, numbers."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from ..audio.formats import AUDIO_EXTENSIONS
from ..values import key, missing

SOUND = {suffix.decode() for suffix in AUDIO_EXTENSIONS}
BITMAP = {".png", ".bmp", ".webp", ".jpg", ".jpeg", ".npy"}
TEXT = set(
    "caption captions text texts title titles description summary words word name lyrics sentence comment review"
    " abstract query question answer en de fr es it nl pt pl cs sv da fi no el tr ru uk ro hu ar hi ja ko zh"
    " english german french spanish italian dutch portuguese polish russian".split()
)
LABEL = set(
    "label class category genre style mood digit kind type language species emotion key meter instrument user film"
    " movie item song track artist album host speaker singer author composer playlist product customer shop".split()
)
TAGS = set("tags genres labels categories classes styles moods instruments keywords topics amenities".split())
TARGET = set("price rent cost salary income revenue sales rating stars tempo bpm popularity plays".split())
NUMBER = TARGET | set(
    "year age rooms beds bedrooms bathrooms count area size length width height duration seconds latitude longitude lat"
    " lon weight distance floor".split()
)
GROUP = set("artist album host speaker singer author composer".split())  # rows of one are alike
PLACE = set("fold split index row".split())
FEW = 20  # whole numbers that are no more than this are labels, unless their name says otherwise
LOOKED = 200  # cells or files that a guess is made of


@dataclass(frozen=True)
class Column:
    """A column as it seems to be.

    Args:
        name: its name.
        kind: id, split, sound, bitmap, text, label, tags, list (of ids, in their order), number, or other.
        values: distinct values; the elements of lists count one by one.
        rows: rows that have it.
        why: what the kind was told by, in a few words.
        about: what its reader must know: the rate and the length of sounds, the shape of bitmaps.
    """

    name: str
    kind: str
    values: int
    rows: int
    why: str
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> int:
        """How much it is named like a number to be predicted: 2 for `price`, 1 for `price_a_night`, else 0."""
        if self.kind != "number":
            return 0
        return 2 if self.name.lower() in TARGET | {"target", "value", "y"} else int(bool(TARGET & parts(self.name)))


def parts(name: str) -> set[str]:
    """A column's name, and the words in it: `host_id` -> host_id, host, id."""
    return {name.lower(), *name.lower().replace("-", "_").replace(" ", "_").split("_")}


def root(values: int) -> tuple[int, int, int]:
    """How many dimensions to start with for so many values, their fourth root, and the range to search round it.

    >>> root(500_000)
    (26, 15, 35)
    """
    start = values**0.25
    return max(2, int(start)), max(1, int(0.6 * start)), max(3, int(start * 4 / 3))


def columns(rows: Any) -> list[Column]:
    """All columns of a table, in their order; `rows` is a `Rows`."""
    return [_column(rows, name) for name in rows.columns]


def _column(rows: Any, name: str) -> Column:
    cells = [cell for cell in rows.cells(name) if not missing(cell)]
    arrays = bool(cells) and all(_array(cell) is not None for cell in _some(cells))
    things = cells if arrays else [one for cell in cells for one in _elements(cell) if not missing(one)]
    kind, why = "other", ""
    about: dict[str, Any] = {}
    values = len({one if isinstance(one, str) else key(one) for one in things if not isinstance(one, dict)})
    if not cells:
        why = "empty"
    elif name in ("id", "split"):
        kind, why = name, "by its name"
    elif parts(name) & PLACE:
        why = "by its name it tells where a row stands, not what it is"
    elif arrays:
        kind, why, about, values = _listed(name, cells, values)
    elif values == 1:
        why = "the same in every row"
    elif all(isinstance(one, str) for one in things):
        kind, why, about = _texts(rows, name, cells, things, values)
    elif all(isinstance(one, bool | int | float) for one in things):
        kind, why = _numbers(name, things, values)
    else:
        why = "no reader takes " + " and ".join(sorted({type(one).__name__ for one in _some(things)}))
    if "." in name:
        kind, why = "other", "its name has a dot in it: rename it"
    return Column(name, kind, values, len(cells), why, about)


def _some(things: Sequence[Any], most: int = LOOKED) -> Sequence[Any]:
    """At most so many of the things, spread over all of them."""
    return things[:: max(1, math.ceil(len(things) / most))]


def _elements(cell: Any) -> list[Any]:
    return list(cell) if isinstance(cell, list | tuple | np.ndarray) else [cell]


def _array(cell: Any) -> Any:
    """A list of numbers as an array of one or two dimensions; None for anything else."""
    if isinstance(cell, list | tuple) and cell and isinstance(cell[0], int | float | list | tuple):
        with contextlib.suppress(ValueError, OverflowError):
            cell = np.array(cell)
    return cell if isinstance(cell, np.ndarray) and cell.dtype.kind in "iuf" and cell.ndim in (1, 2) else None


def _listed(name: str, cells: list[Any], values: int) -> tuple[str, str, dict[str, Any], int]:
    """Lists of numbers: bitmaps, or lists of ids."""
    arrays = [_array(cell) for cell in cells]
    shape, high = arrays[0].shape, 255 if arrays[0].dtype.kind in "iu" else 1
    if all(one is not None and one.shape == shape and one.min() >= 0 and one.max() <= high for one in arrays):
        side = math.isqrt(shape[0])
        named = {"bitmap", "image", "picture", "pixels", "photo", "score", "roll"} & parts(name)
        if len(shape) == 2 or (shape[0] >= 16 and (side * side == shape[0] or named)):
            sides = list(shape) if len(shape) == 2 else [side, side] if side * side == shape[0] else [1, shape[0]]
            return "bitmap", f"{len(cells):,} times {sides[0]} x {sides[1]} grey levels", {"shape": sides}, values
    if all(one is not None and one.ndim == 1 and (one == np.floor(one)).all() for one in arrays):
        found = np.unique(np.concatenate(arrays))
        return _many(name), f"{len(found):,} whole numbers in lists of {_length(cells)}", {"numbers": True}, len(found)
    return "other", "no reader takes vectors of numbers", {}, values


def _texts(rows: Any, name: str, cells: list[Any], things: list[str], values: int) -> tuple[str, str, dict[str, Any]]:
    some = _some(things)
    suffixes = Counter(Path(one).suffix.lower() for one in some)
    for kind, known, look in (("sound", SOUND, _sounds), ("bitmap", BITMAP, _bitmaps)):
        if sum(suffixes[suffix] for suffix in known) >= 0.9 * len(some):
            files = [Path(rows.root or ".") / one for one in things]
            gone = [one for one, file in zip(things, files, strict=True) if not file.is_file()]
            if gone:
                return "other", f"{len(gone)} of {len(files)} {kind} files are not there, such as {gone[0]}", {}
            return look(kind, files)
    words = mean(len(one.split()) for one in some)
    names, rare = parts(name), values > len(things) / 2
    told = f"{values:,} different texts of about {words:.0f} word" + ("s" if round(words) != 1 else "")
    listed = mean(map(len, map(_elements, _some(cells)))) >= 1.5
    if not names & (LABEL | TAGS) and (names & TEXT or words >= 4 or (words >= 2 and rare)):
        return "text", told, {}
    if listed:
        return _many(name), f"{values:,} values in lists of {_length(cells)}", {}
    if words >= 2 and rare:
        return "text", told, {}
    if rare:
        return "other", "nearly another value in each row: of new rows nothing would be known", {}
    return "label", f"{values:,} values in {len(things):,} rows", {}


def _sounds(kind: str, files: list[Path]) -> tuple[str, str, dict[str, Any]]:
    import soundfile

    rates, seconds = Counter[int](), []
    for file in _some(files, 50):
        with contextlib.suppress(Exception):  # what soundfile does not know may still be decoded by others
            head = soundfile.info(file)
            rates[head.samplerate] += 1
            seconds.append(head.duration)
    rate, length = (rates.most_common(1)[0][0], median(seconds)) if rates else (16000, 5.0)
    about = {"rate": min(rate, 22050), "seconds": round(max(length, 0.2) if length <= 10 else 6.0, 1)}
    return kind, f"{len(files):,} files of {rate} Hz, {length:.1f} s", about


def _bitmaps(kind: str, files: list[Path]) -> tuple[str, str, dict[str, Any]]:
    from PIL import Image

    shapes = set()
    for file in _some(files, 2000):
        with contextlib.suppress(OSError, ValueError):  # `fit` names the file
            if file.suffix.lower() == ".npy":
                shapes.add(np.load(file, mmap_mode="r").shape)
            else:
                with Image.open(file) as image:
                    shapes.add(image.size[::-1])
    if len(shapes) != 1 or len(shape := next(iter(shapes))) != 2:
        found = ", ".join(" x ".join(map(str, one)) for one in sorted(shapes)[:3])
        return "other", f"bitmaps of several sizes ({found}): bring them to one", {}
    return kind, f"{len(files):,} files of {shape[0]} x {shape[1]} pixels", {"shape": list(shape)}


def _numbers(name: str, things: list[Any], values: int) -> tuple[str, str]:
    names, whole = (
        parts(name),
        all(one == one and one not in (math.inf, -math.inf) and one == int(one) for one in things),
    )
    counted = f"{values:,} different numbers"
    if whole and not names & NUMBER and (names & (LABEL | {"id"}) or values <= FEW or isinstance(things[0], bool)):
        if values > len(things) / 2:
            return "other", "nearly another value in each row: of new rows nothing would be known"
        return "label", f"{values:,} whole numbers in {len(things):,} rows"
    return "number", counted


def _many(name: str) -> str:
    return "tags" if parts(name) & TAGS else "list"


def _length(cells: list[Any]) -> str:
    return f"about {mean(len(_elements(cell)) for cell in _some(cells)):.0f}"
