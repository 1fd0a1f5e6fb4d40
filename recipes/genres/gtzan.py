"""GTZAN: its published features, or its audio."""

from __future__ import annotations

import csv
import gzip
import io
import math
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jointembed.errors import DamagedError, UsageError

Item = dict[str, Any]
FETCH = "git clone https://github.com/coreyker/dnn-mgr data/lists and give data/lists/gtzan as a further source"
TABLES = ["features_30_sec.csv", "gtzan_features_30s.csv", "gtzan_features_30s.csv.gz"]
SPLITS = {"train": "train", "valid": "dev", "test": "test"}


def lists(sources: list[Path]) -> dict[str, str]:
    """The fault-filtered split (Kereliuk et al. 2015): clip -> split, from train_filtered.txt and its like.

    Clips in none of the lists are left out: they are damaged or duplicates.
    """
    return {
        Path(line.strip()).stem: SPLITS[part]
        for source in sources
        for part in SPLITS
        for path in sorted(source.rglob(f"{part}_filtered.txt"))
        for line in path.read_text("utf-8").splitlines()
        if line.strip()
    }


def clips(source: Path, sources: list[Path]) -> Iterator[Item]:
    """The clips of `genres_original/GENRE/*.wav`, by the lists that some source holds.

    Raises:
        UsageError: no source holds the lists.
    """
    folder = next((source / name for name in ("genres_original", "genres") if (source / name).is_dir()), None)
    if folder is None:
        return
    split = lists(sources)
    if not split:
        raise UsageError(
            folder, "no source holds train_filtered.txt, and a random split would share its artists", FETCH
        )
    for name, part in split.items():
        genre = name.partition(".")[0]
        audio = next((path for path in sorted((folder / genre).glob(f"{name}.*"))), folder / genre / f"{name}.wav")
        yield {"id": name, "split": part, "audio": audio, "genre": genre}


def measured(source: Path, sources: list[Path]) -> Iterator[Item]:
    """The clips of a table of 57 features, with the logarithm of variances, which span many powers of ten.

    Raises:
        UsageError: no source has the split.
        DamagedError: the table is not as published.
    """
    path = next((path for name in TABLES for path in (source / name, source / "Data" / name) if path.is_file()), None)
    if path is None:
        return
    content = path.read_bytes()
    try:
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
        rows = list(csv.DictReader(io.StringIO(text)))
        split = lists(sources)
        for row in rows:
            name = row["filename"].removesuffix(".wav")
            part = split.get(name) or SPLITS.get(row.get("fault_filtered_split", ""))
            named = [column for column in row if column.endswith(("_mean", "_var")) or column == "tempo"]
            numbers = {column: number(column, float(row[column])) for column in named}
            if part:
                yield {"id": name, "split": part, "genre": row["label"], **numbers}
    except (OSError, EOFError, zlib.error, KeyError, ValueError, TypeError) as error:
        raise DamagedError(path, f"it is not a table of the features of GTZAN ({error})", "fetch it again") from error
    if not split and rows and "fault_filtered_split" not in rows[0]:
        raise UsageError(path, "no source has the split of the clips", FETCH)


def number(column: str, value: float) -> float:
    """A feature as the table of the recipe holds it."""
    return math.log(max(value, 1e-12)) if column.endswith("_var") else value


def fold(items: list[Item], test_fold: int, folds: int = 5) -> None:
    """Make one fold of the clips of train and dev the `test` split, and drop the official test clips.

    Clips are numbered by where they come from, so that those of an artist mostly stand side by side: the clips of a
    genre are cut into stretches of neighbours, one a fold. Choose settings on the official `dev` rows.
    """
    items[:] = [item for item in items if item["split"] != "test"]
    genres = defaultdict(list)
    for item in sorted(items, key=lambda item: str(item["id"])):
        genres[item["genre"]].append(item)
    for genre in genres.values():
        for place, item in enumerate(genre):
            item["split"] = "test" if place * folds // len(genre) == test_fold - 1 else "train"
