"""MusicCaps, Clotho and Song Describer: sounds with captions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jointembed import recipe_tools

Item = dict[str, Any]
KINDS = (".wav", ".flac", ".mp3", ".ogg")


def musiccaps(source: Path, sources: list[Path]) -> Iterator[Item]:
    """MusicCaps (Agostinelli et al. 2023): AudioSet's evaluation part is `test`, a tenth of the rest `dev`."""
    path = source / "musiccaps-public.csv"
    if not path.is_file():
        return
    rows = recipe_tools.read_csv(path, ["ytid", "caption", "is_audioset_eval"])
    carved = recipe_tools.hold_out((row["ytid"] for row in rows if row["is_audioset_eval"] != "True"), 0.1)
    for row in rows:
        places = [source / "audio" / f"{row['ytid']}{kind}" for kind in KINDS]
        part = "test" if row["is_audioset_eval"] == "True" else "dev" if row["ytid"] in carved else "train"
        audio = next((place for place in places if place.is_file()), places[0])
        yield {"id": f"musiccaps-{row['ytid']}", "split": part, "audio": audio, "caption": row["caption"]}


def clotho(source: Path, sources: list[Path]) -> Iterator[Item]:
    """Clotho 2.1 (Drossos et al. 2020): five captions a clip."""
    for part, split in (("development", "train"), ("validation", "dev"), ("evaluation", "test")):
        path = source / f"clotho_captions_{part}.csv"
        if not path.is_file():
            continue
        columns = [f"caption_{number}" for number in range(1, 6)]
        for row in recipe_tools.read_csv(path, ["file_name", *columns]):
            places = [source / inner / part / row["file_name"] for inner in (".", "clotho_audio_" + part)]
            yield {
                "id": f"clotho-{part}-{Path(row['file_name']).stem}",
                "split": split,
                "audio": next((place for place in places if place.is_file()), places[0]),
                "caption": [row[column] for column in columns],
            }


def describer(source: Path, sources: list[Path]) -> Iterator[Item]:
    """Song Describer (Manco et al. 2023): captions that were checked, of test songs of MTG-Jamendo: all are `test`."""
    path = source / "song_describer.csv"
    if not path.is_file():
        return
    captions = defaultdict(list)
    songs = {}
    for row in recipe_tools.read_csv(path, ["track_id", "caption", "is_valid_subset", "path"]):
        if row["is_valid_subset"] == "True":
            captions[row["track_id"]].append(row["caption"])
            songs[row["track_id"]] = row["path"]
    for track, song in songs.items():
        places = [source / "audio" / name for name in (song.replace(".mp3", ".2min.mp3"), song)]
        audio = next((place for place in places if place.is_file()), places[0])
        yield {"id": f"describer-{track}", "split": "test", "audio": audio, "caption": captions[track]}
