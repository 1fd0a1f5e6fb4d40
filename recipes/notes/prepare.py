"""Notes as a table: columns id, split, frames for chorales; id, split, notes, type, title and more for folk tunes.

    python recipes/notes/prepare.py data/jsb out/chorales
    python recipes/notes/prepare.py data/nottingham data/rendered out/tunes

Chorales: the JSB chorales of Boulanger-Lewandowski et al. (2012), as `jsb-chorales-quarter.json` (or `.json.gz`) or as
`JSB_Chorales.mat`, which hold the same. A frame is what sounds at a quarter note: a list of pitches, as MIDI counts.

- The splits are those that everybody reports on: train, valid (here `dev`) and test.
- `--grid 8th` or `16th` takes the frames of a finer grid; figures on them do not compare with those on quarters.
- `--transpose` adds each training chorale 5 semitones down to 6 up: `extra` says so, and so must a figure.

Tunes: the Nottingham tunes, as the jukedeck repository or as `nottingham.jsonl.gz`, and optionally a folder of
recordings with a `rendered.csv`; without one the tunes are played as `recipes/songs/prepare.py` plays them.

- notes: the melody, a note as "INTERVAL DURATION PLACE": semitones from the note before ("start" for the first one),
  ticks (24 a quarter note), and ticks since the bar began.
- type: reel, jig, hornpipe, waltz, morris or slip jig; missing where the collection is named after something else.
- audio: the first six seconds, in synthetic sound. next: the pitch class of the first melody note that begins after
  them; last: that of the last one that begins in them. Both are missing where a tune ends before.
- `--stretches 4` adds four further stretches of each training tune, played likewise, with audio, last and next alone:
  `extra` says so, and so must a figure.

`valid` is for reporting; a tenth of the titles in train becomes `dev`, variants of a tune together; the repository's
splits are a hash of the title. All of that is as in `recipes/songs/prepare.py`.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jointembed import recipe_tools
from jointembed.errors import DamagedError, UsageError

FETCH = (
    "fetch https://raw.githubusercontent.com/czhuang/JSB-Chorales-dataset/master/jsb-chorales-quarter.json (0.4 MB, no "
    "licence is stated) into data/jsb, then run prepare.py data/jsb out/chorales; or git clone "
    "https://github.com/jukedeck/nottingham-dataset data/nottingham (10 MB, GPLv3), then run prepare.py "
    "data/nottingham out/tunes"
)
SPLITS = {"train": "train", "valid": "dev", "test": "test"}
TYPES = {"reel", "jig", "hornpipe", "waltz", "morris", "slip jig"}
CLASSES = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"]
Tune = dict[str, Any]  # see recipes/songs/nottingham.py

songs = recipe_tools.load_script(Path(__file__).parents[1] / "songs" / "prepare.py")


# -- chorales ---------------------------------------------------------------------------------------------------------


def chorales(source: Path, grid: str) -> dict[str, list[list[list[int]]]]:
    """The chorales of each split; none if the source holds no such file."""
    name = f"jsb-chorales-{grid}.json"
    path = next((source / file_name for file_name in (name, f"{name}.gz") if (source / file_name).is_file()), None)
    try:
        if path:
            raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            return {split: json.loads(raw)[split] for split in SPLITS}
        path = source / "JSB_Chorales.mat"
        return rolls(path) if path.is_file() and grid == "quarter" else {}
    except (EOFError, ValueError, KeyError, gzip.BadGzipFile) as error:
        raise DamagedError(path, f"it cannot be read as chorales ({error})", "fetch it again") from None


def rolls(path: Path) -> dict[str, list[list[list[int]]]]:
    """The chorales of a MATLAB file of rolls: a row a frame, a column a key of the piano, from pitch 21 on."""
    from scipy.io import loadmat

    matrices = loadmat(path)
    return {
        split: [
            [[key + 21 for key, on in enumerate(frame) if on] for frame in roll] for roll in matrices[f"{split}data"][0]
        ]
        for split in SPLITS
    }


def frames(source: Path, grid: str, transpose: bool) -> Iterator[recipe_tools.Row]:
    """A row a chorale, and one for each transposed copy of those that are trained on."""
    for split, listed in chorales(source, grid).items():
        for number, chorale in enumerate(listed):
            chorale = [sorted(frame) for frame in chorale]
            yield {"id": f"{split} {number}", "split": SPLITS[split], "frames": chorale}
            for by in range(-5, 7) if transpose and split == "train" else ():
                if by:
                    moved = [[pitch + by for pitch in frame] for frame in chorale]
                    yield {"id": f"{split} {number} {by:+}", "split": "train", "frames": moved, "extra": "transposed"}


# -- tunes ------------------------------------------------------------------------------------------------------------


def melody(tune: Tune) -> list[tuple[int, int, int]]:
    """The melody as (start, duration, pitch), in order."""
    return sorted((start, duration, pitch) for start, duration, pitch, track in tune["notes"] if track == 0)


def bar(meter: str) -> int:
    """The ticks of a bar; 4/4 if the metre cannot be parsed."""
    over, _, under = meter.partition("/")
    return int(over) * 96 // int(under) if over.isdecimal() and under.isdecimal() and int(over) * int(under) else 96


def notes(tune: Tune) -> list[str]:
    """The melody as ids that do not change when it is transposed."""
    line, length, before, words = melody(tune), bar(tune["meter"]), None, []
    for start, duration, pitch in line:
        step = "start" if before is None else f"{pitch - before:+}"
        words.append(f"{step} {duration} {start % length}")
        before = pitch
    return words


def around(tune: Tune, end: float) -> dict[str, str]:
    """The pitch classes of the last melody note that begins before a tick and of the first that does not."""
    line = melody(tune)
    inside = [pitch for start, _, pitch in line if start < end]
    after = [pitch for start, _, pitch in line if start >= end]
    return {"last": CLASSES[inside[-1] % 12], "next": CLASSES[after[0] % 12]} if inside and after else {}


def tempo(name: str) -> float:
    """Quarter notes a minute in which songs plays a tune."""
    return 100 + 50 * recipe_tools.hash_fraction(f"{name} tempo")


def stretches(tune: Tune, count: int, out: Path) -> Iterator[recipe_tools.Row]:
    """A row a further stretch of a tune, from anywhere in it, in a tempo and a timbre of its own."""
    for number in range(count):
        name = f"{tune['id']} {number}"
        end = songs.SECONDS * tempo(name) / 60 * 24
        first = round(recipe_tools.hash_fraction(f"{name} stretch") * max(0, melody(tune)[-1][0] - end))
        moved = [[start - first, *rest] for start, *rest in tune["notes"] if start >= first]
        later = {**tune, "id": name, "notes": moved}
        if answers := around(later, end):
            songs.play(later, out / "audio" / f"{name}.flac")
            yield {"id": name, "split": "train", "audio": f"audio/{name}.flac", **answers, "extra": "stretch"}


def tunes(sources: list[Path], out: Path, more: int) -> tuple[list[recipe_tools.Row], int]:
    """A row a tune, and how many of those listed have no notes."""
    listed: list[Tune] = []
    clips: dict[str, tuple[Path, float]] = {}
    for source in sources:
        if (source / "rendered.csv").is_file():
            read = recipe_tools.read_csv(source / "rendered.csv", ["filename", "id", "bpm"])
            clips |= {clip["id"]: (source / clip["filename"], float(clip["bpm"])) for clip in read}
        elif (source / "nottingham.jsonl.gz").is_file():
            listed += songs.nottingham.packed(source / "nottingham.jsonl.gz")
        elif (source / "ABC_cleaned").is_dir():
            listed += songs.nottingham.repository(source)
        else:
            wrong = "jsb-chorales-quarter.json, ABC_cleaned, nottingham.jsonl.gz and rendered.csv are missing"
            raise UsageError(source, wrong, FETCH)
    playable = [tune for tune in listed if melody(tune)]
    side, rows = songs.splits(playable), []
    for tune in playable:
        name = tune["id"]
        row = {"id": name, "split": side[name], "notes": notes(tune)}
        row |= {"type": tune["type"]} if tune["type"] in TYPES else {}
        row |= {column: tune[column] for column in ("title", "key", "meter")}
        if not clips:
            songs.play(tune, out / "audio" / f"{name}.flac")
            row |= {"audio": f"audio/{name}.flac", **around(tune, songs.SECONDS * tempo(name) / 60 * 24)}
        elif name in clips and clips[name][0].is_file():
            path, speed = clips[name]
            row |= {
                "audio": recipe_tools.link_or_copy(path, out, "audio"),
                **around(tune, songs.SECONDS * speed / 60 * 24),
            }
        rows += [row, *(stretches(tune, more, out) if side[name] == "train" else ())]
    return rows, len(listed) - len(playable)


def guesses(rows: list[recipe_tools.Row]) -> str:
    """How often the next pitch class of `valid` is guessed without any sound; the last note is taken from the score."""
    queries = [row for row in rows if row["split"] == "valid" and "next" in row]
    train = [row for row in rows if row["split"] == "train" and "next" in row]
    common = Counter(row["next"] for row in train)
    after = {last: Counter(row["next"] for row in train if row["last"] == last) for last in CLASSES}
    right = {
        "the most frequent one": [common.most_common(1)[0][0] == row["next"] for row in queries],
        "the last one again": [row["last"] == row["next"] for row in queries],
        "what follows the last one most often": [
            (after[row["last"]] or common).most_common(1)[0][0] == row["next"] for row in queries
        ],
    }
    return ", ".join(f"{name} {sum(hits) / len(hits):.3f}" for name, hits in right.items())


def main() -> None:
    arguments = recipe_tools.Arguments(__doc__, FETCH)
    arguments.add_argument("--grid", choices=["quarter", "8th", "16th"], default="quarter", help="of the chorales")
    arguments.add_argument("--transpose", action="store_true", help="of the chorales: more training rows")
    arguments.add_argument("--stretches", type=int, default=0, help="of the tunes: more training rows")
    sources, out, options = arguments.read()
    rows = [row for source in sources for row in frames(source, options.grid, options.transpose)]
    rows, skipped = (rows, 0) if rows else tunes(sources, out, options.stretches)
    if not rows:
        raise UsageError(sources[0], "no source holds notes", FETCH)
    recipe_tools.write_rows(out, rows, skipped, options.split)
    if {"valid", "train"} <= {row["split"] for row in rows if "next" in row}:
        print(f"next pitch class in valid: {guesses(rows)}")


if __name__ == "__main__":
    recipe_tools.run_script(main)
