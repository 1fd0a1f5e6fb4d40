"""Infer the types of a table's columns: sounds, bitmaps, texts, labels, lists, numbers."""

from __future__ import annotations

import contextlib
import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from ..audio.formats import AUDIO_EXTENSIONS
from ..values import key, missing, present

SOUND_SUFFIXES = {suffix.decode() for suffix in AUDIO_EXTENSIONS}
BITMAP_SUFFIXES = {".png", ".bmp", ".webp", ".jpg", ".jpeg", ".npy"}
TEXT_NAMES = set(
    "caption captions text texts title titles description summary words word name lyrics sentence comment review"
    " abstract query question answer en de fr es it nl pt pl cs sv da fi no el tr ru uk ro hu ar hi ja ko zh"
    " english german french spanish italian dutch portuguese polish russian".split()
)
LABEL_NAMES = set(
    "label class category genre style mood digit kind type language species emotion key meter instrument user film"
    " movie item song track artist album host speaker singer author composer playlist product customer shop".split()
)
TAG_NAMES = set("tags genres labels categories classes styles moods instruments keywords topics amenities".split())
TARGET_NAMES = set("price rent cost salary income revenue sales rating stars tempo bpm popularity plays".split())
NUMBER_NAMES = TARGET_NAMES | set(
    "year age rooms beds bedrooms bathrooms count area size length width height duration seconds latitude longitude lat"
    " lon weight distance floor".split()
)
ITEM_NAMES = set("title titles name names".split())  # of items, when they are short
MAX_WORDS_OF_NAME = 4
GROUPS = set("artist album host speaker singer author composer".split())  # whose rows are alike
POSITION_NAMES = set("fold split index row".split())
MAX_NUMERIC_LABELS = 20  # columns with more different whole numbers are numbers, unless their name says otherwise
MAX_WINDOW_SECONDS = 6.0  # of a sound; a longer one is read by its windows
SAMPLED_CELLS = 200
RARE = "almost every row has a different value, so it is not usable as a label"


@dataclass(frozen=True)
class TypedColumn:
    """A column and its inferred type.

    Args:
        name: its name.
        kind: id, split, sound, bitmap, text, label, tags, list (of ids, in their order), number, or other.
        values: the number of distinct values, counting the elements of lists.
        rows: the number of rows that have it.
        why: the reason for the kind, in a few words.
        about: arguments of its reader: the sample rate and length of sounds, the shape of bitmaps; `is_name` if a text
            is a short title, which names an item and does not describe it.
    """

    name: str
    kind: str
    values: int
    rows: int
    why: str
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def target_rank(self) -> int:
        """2 if it is named like a number to predict (`price`), 1 if a part of its name is (`price_a_night`), else 0."""
        if self.kind != "number":
            return 0
        return (
            2
            if self.name.lower() in TARGET_NAMES | {"target", "value", "y"}
            else int(bool(TARGET_NAMES & split_name(self.name)))
        )


def split_name(name: str) -> set[str]:
    """The name of a column and the words in it: `host_id` -> host_id, host, id."""
    return {name.lower(), *name.lower().replace("-", "_").replace(" ", "_").split("_")}


def suggest_dimensions(values: int) -> tuple[int, int, int]:
    """A number of dimensions for a number of distinct values, their fourth root, and a range to search around it.

    >>> suggest_dimensions(500_000)
    (26, 15, 35)
    """
    start = values**0.25
    return max(2, int(start)), max(1, int(0.6 * start)), max(3, int(start * 4 / 3))


def infer_columns(rows: Any) -> list[TypedColumn]:
    """The columns of a table with their types, in their order; `rows` is a `Rows`."""
    return [_infer(rows, name) for name in rows.columns]


def _infer(rows: Any, name: str) -> TypedColumn:
    cells = [cell for cell in rows.cells(name) if not missing(cell)]
    has_arrays = bool(cells) and all(_array(cell) is not None for cell in _sample(cells))
    elements = cells if has_arrays else [part for cell in cells for part in _elements(cell) if not missing(part)]
    kind, why = "other", ""
    about: dict[str, Any] = {}
    values = len({part if isinstance(part, str) else key(part) for part in elements if not isinstance(part, dict)})
    if not cells:
        why = "empty"
    elif name in ("id", "split"):
        kind, why = name, "by its name"
    elif split_name(name) & POSITION_NAMES:
        why = "by its name it is the position of a row"
    elif has_arrays:
        kind, why, about, values = _infer_arrays(name, cells, values)
    elif values == 1:
        why = "the same value in every row"
    elif all(isinstance(element, str) for element in elements):
        kind, why, about = _infer_texts(rows, name, cells, elements, values)
    elif all(isinstance(element, bool | int | float) for element in elements):
        kind, why = _infer_numbers(name, elements, values)
    else:
        types = sorted({type(element).__name__ for element in _sample(elements)})
        why = "no reader takes " + " and ".join(types)
    if "." in name:
        kind, why = "other", "its name contains a dot: rename it"
    return TypedColumn(name, kind, values, len(cells), why, about)


def _sample(values: Sequence[Any], count: int = SAMPLED_CELLS) -> Sequence[Any]:
    """At most `count` evenly spaced values."""
    return values[:: max(1, math.ceil(len(values) / count))]


def _elements(cell: Any) -> list[Any]:
    return list(cell) if isinstance(cell, list | tuple | np.ndarray) else [cell]


def _array(cell: Any) -> Any:
    """A list of numbers as an array of one or two dimensions; None for anything else. Missing numbers are left out."""
    if isinstance(cell, list | tuple) or (isinstance(cell, np.ndarray) and cell.dtype.kind in "fO" and cell.ndim == 1):
        numbers = present(cell)
        cell = numbers if isinstance(cell, list | tuple) or len(numbers) < len(cell) else cell
    if isinstance(cell, list | tuple) and cell and isinstance(cell[0], int | float | list | tuple):
        with contextlib.suppress(ValueError, OverflowError):
            cell = np.array(cell)
    return cell if isinstance(cell, np.ndarray) and cell.dtype.kind in "iuf" and cell.ndim in (1, 2) else None


def _infer_arrays(name: str, cells: list[Any], values: int) -> tuple[str, str, dict[str, Any], int]:
    """Lists of numbers: bitmaps, or lists of ids."""
    arrays = [_array(cell) for cell in cells]
    shape, high = arrays[0].shape, 255 if arrays[0].dtype.kind in "iu" else 1
    if all(array is not None and array.shape == shape and array.min() >= 0 and array.max() <= high for array in arrays):
        side = math.isqrt(shape[0])
        is_named = {"bitmap", "image", "picture", "pixels", "photo", "roll"} & split_name(name)
        if len(shape) == 2 or (shape[0] >= 16 and (side * side == shape[0] or is_named)):
            sides = list(shape) if len(shape) == 2 else [side, side] if side * side == shape[0] else [1, shape[0]]
            return "bitmap", f"{len(cells):,} times {sides[0]} x {sides[1]} grey levels", {"shape": sides}, values
    if all(array is not None and array.ndim == 1 and (array == np.floor(array)).all() for array in arrays):
        count = len(np.unique(np.concatenate(arrays)))
        return _list_kind(name), f"{count:,} whole numbers in lists of {_mean_length(cells)}", {"numbers": True}, count
    return "other", "no reader takes vectors of numbers", {}, values


def _infer_texts(
    rows: Any, name: str, cells: list[Any], texts: list[str], values: int
) -> tuple[str, str, dict[str, Any]]:
    sample = _sample(texts)
    counts = Counter(Path(text).suffix.lower() for text in sample)
    for kind, suffixes, inspect in (
        ("sound", SOUND_SUFFIXES, _inspect_sounds),
        ("bitmap", BITMAP_SUFFIXES, _inspect_bitmaps),
    ):
        if sum(counts[suffix] for suffix in suffixes) >= 0.9 * len(sample):
            files = [Path(rows.root or ".") / text for text in texts]
            absent = [text for text, file in zip(texts, files, strict=True) if not os.path.isfile(file)]
            report = (
                f"{len(absent):,} of {len(files):,} {kind} files are missing, such as {absent[0]}" if absent else ""
            )
            if len(absent) > len(files) / 2:
                return "other", report, {}
            kind, why, about = inspect(kind, [file for file in files if os.path.isfile(file)] if absent else files)
            return kind, f"{why}; {report}" if report else why, about  # `fit` skips the files that are missing
    words = mean(len(text.split()) for text in sample)
    names, is_rare = split_name(name), values > len(texts) / 2
    why = f"{values:,} different texts of about {words:.0f} word" + ("s" if round(words) != 1 else "")
    if not names & (LABEL_NAMES | TAG_NAMES) and (names & TEXT_NAMES or words >= 4 or (words >= 2 and is_rare)):
        return "text", why, {"is_name": bool(names & ITEM_NAMES) and words < MAX_WORDS_OF_NAME and is_rare}
    if mean(map(len, map(_elements, _sample(cells)))) >= 1.5:
        return _list_kind(name), f"{values:,} values in lists of {_mean_length(cells)}", {}
    if words >= 2 and is_rare:
        return "text", why, {}
    if is_rare:
        return "other", RARE, {}
    return "label", f"{values:,} values in {len(texts):,} rows", {}


def _inspect_sounds(kind: str, files: list[Path]) -> tuple[str, str, dict[str, Any]]:
    import soundfile

    rates, seconds = Counter[int](), []
    for file in _sample(files, 50):
        with contextlib.suppress(Exception):  # other decoders may read what soundfile cannot
            info = soundfile.info(file)
            rates[info.samplerate] += 1
            seconds.append(info.duration)
    rate, length = (rates.most_common(1)[0][0], median(seconds)) if rates else (16000, 5.0)
    about = {"rate": min(rate, 22050), "seconds": round(min(max(length, 0.2), MAX_WINDOW_SECONDS), 1)}
    return kind, f"{len(files):,} files of {rate} Hz, {length:.1f} s", about


def _inspect_bitmaps(kind: str, files: list[Path]) -> tuple[str, str, dict[str, Any]]:
    from PIL import Image

    shapes = set()
    for file in _sample(files, 2000):
        with contextlib.suppress(Exception):  # `fit` names the file, and the limit that it exceeds
            if file.suffix.lower() == ".npy":
                shapes.add(np.load(file, mmap_mode="r").shape)
            else:
                with Image.open(file) as image:
                    shapes.add(image.size[::-1])
    if len(shapes) != 1 or len(shape := next(iter(shapes))) != 2:
        sizes = ", ".join(" x ".join(map(str, shape)) for shape in sorted(shapes)[:3])
        return "other", f"bitmaps of several sizes ({sizes}): resize them", {}
    return kind, f"{len(files):,} files of {shape[0]} x {shape[1]} pixels", {"shape": list(shape)}


def _infer_numbers(name: str, numbers: list[Any], values: int) -> tuple[str, str]:
    words = split_name(name)
    whole = all(number == number and abs(number) != math.inf and number == int(number) for number in numbers)
    is_label = words & (LABEL_NAMES | {"id"}) or values <= MAX_NUMERIC_LABELS or isinstance(numbers[0], bool)
    if whole and is_label and not words & NUMBER_NAMES:
        if values > len(numbers) / 2:
            return "other", RARE
        return "label", f"{values:,} whole numbers in {len(numbers):,} rows"
    return "number", f"{values:,} different numbers"


def _list_kind(name: str) -> str:
    return "tags" if split_name(name) & TAG_NAMES else "list"


def _mean_length(cells: list[Any]) -> str:
    return f"about {mean(len(_elements(cell)) for cell in _sample(cells)):.0f}"
