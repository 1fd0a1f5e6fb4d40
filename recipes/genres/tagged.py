"""FMA and MTG-Jamendo: songs with genres and official splits."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jointembed.errors import DamagedError

Item = dict[str, Any]
SPLITS = {"training": "train", "train": "train", "validation": "dev", "test": "test"}
SUBSETS = {
    "fma_small": {"small"},
    "fma_medium": {"small", "medium"},
    "fma_large": {"small", "medium", "large"},
    "fma_full": {"small", "medium", "large", "full"},
}


def fma(source: Path, sources: list[Path]) -> Iterator[Item]:
    """FMA (Defferrard et al. 2017): `fma_metadata/tracks.csv` and the largest of the folders `fma_small` to `fma_full`.

    Raises:
        DamagedError: the list is not as published.
    """
    listed = next((path for path in (source / "fma_metadata", source) if (path / "tracks.csv").is_file()), None)
    if listed is None:
        return
    size = next((name for name in reversed(SUBSETS) if (source / name).is_dir()), "fma_small")
    with open(listed / "tracks.csv", encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        columns = list(zip(next(lines, []), next(lines, []), strict=False))
        headings = [("set", "split"), ("set", "subset"), ("track", "genre_top"), ("artist", "id")]
        try:
            places = [columns.index(name) for name in headings]
        except ValueError as error:
            raise DamagedError(
                listed / "tracks.csv", "its two lines of headings have no column set, split", "fetch it again"
            ) from error
        for line in lines:
            if not line or not line[0].isdigit():
                continue  # a third line of headings
            split, subset, genre, artist = (line[place] for place in places)
            if subset in SUBSETS[size] and genre and split in SPLITS:
                name = f"{int(line[0]):06d}"
                audio = source / size / name[:3] / f"{name}.mp3"
                yield {
                    "id": f"fma-{int(line[0])}",
                    "split": SPLITS[split],
                    "audio": audio,
                    "genre": genre,
                    "artist": artist,
                }


def jamendo(source: Path, sources: list[Path]) -> Iterator[Item]:
    """MTG-Jamendo (Bogdanov et al. 2019): the lists of split 0, and the songs in any source or its folder `audio`."""
    folder = source / "data" / "splits" / "split-0"
    for part in ("train", "validation", "test"):
        path = folder / f"autotagging_genre-{part}.tsv"
        if not path.is_file():
            continue
        for number, line in enumerate(path.read_text("utf-8").splitlines()):
            track, artist, _, song, _, *tags = line.split("\t") if line.count("\t") >= 5 else [""] * 6
            if not number or not track:
                continue
            names = [song, song.replace(".mp3", ".low.mp3")]
            places = [root / inner / name for root in sources for inner in (".", "audio") for name in names]
            yield {
                "id": track,
                "split": SPLITS[part],
                "audio": next((place for place in places if place.is_file()), places[0]),
                "genre": [tag.removeprefix("genre---") for tag in tags],
                "artist": artist,
            }
