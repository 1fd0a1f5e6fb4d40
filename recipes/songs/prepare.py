"""Folk tunes as a table: the columns id, split, audio, piano_roll, caption, type, genre, title, artist, key and meter.

    python recipes/songs/prepare.py data/nottingham data/rendered out/songs

Sources: the Nottingham tunes, as the jukedeck repository (`MIDI/*.mid` and `ABC_cleaned/*.abc`) or as
`nottingham.jsonl.gz`; and optionally a folder of recordings of them with a `rendered.csv`. Without one the tunes are
played by the package's own synthesiser, 6 s each, in a tempo and a timbre drawn from a hash of the id.

- piano_roll: a grey PNG, 88 rows (the lowest note at the bottom) x 128 columns of a sixteenth (6 of 24 ticks a
  quarter note), from the start of the tune, where the audio starts too; the melody is 255, chords are 128. It
  shows the first 16 quarter notes; the audio plays 10 to 15 of them; the second half is blank.
- artist: traditional.
- caption: "TITLE, in KEY, METRE time" with every word that names a kind of dance taken out of the title, so that the
  type is not simply read. The metre still tells much of it: of reel, jig, hornpipe and waltz, 6/8 is nearly always the
  jig, 3/4 the waltz, 4/4 the reel. Predict the type from the audio or the piano roll, never from the caption.
- type: what the collection says; genre: the same where it is a rhythm (reel, jig, hornpipe, waltz), else missing.

Splits: the jsonl brings train and valid. A tenth of the titles in train becomes `dev`, variants of a tune together;
`valid` is for reporting. The repository has no splits, so there a hash of the title makes 80 % train (a tenth of it
dev), 10 % valid and 10 % test: these are not the splits of the jsonl, and figures on the two do not compare.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jointembed import recipe_tools
from jointembed.errors import UsageError

FETCH = (
    "git clone https://github.com/jukedeck/nottingham-dataset data/nottingham (10 MB, GPLv3), "
    "then run prepare.py data/nottingham out/songs"
)
COLUMNS_DRAWN = 64  # columns of the piano roll that are drawn
RHYTHMS = {"reel", "jig", "hornpipe", "waltz"}
DANCES = re.compile(
    r"\b(slip|jigg?s?|reels?|hornpipes?|walt[sz](es)?|morris|polkas?|marche?s?|marching|quadrilles?|quickstep|onestep"
    r"|(one|two)[ -]?step|rants?|galop|galopede|strathspeys?|schottische|mazurka|minuet|carols?|christmas|xmas)\b",
    re.IGNORECASE,
)
SECONDS, RATE = 6.0, 22050
TIMBRES = ["accordion", "bell", "fiddle", "flute", "guitar", "organ", "piano", "reed"]
Tune = dict[str, Any]  # see nottingham.py

nottingham = recipe_tools.load_script(Path(__file__).with_name("nottingham.py"))


def plain(title: str) -> str:
    """What variants of one tune have in common: the letters of their title."""
    return re.sub(r"[^a-z0-9]", "", title.lower())


def caption(tune: Tune) -> str:
    """The title without its dance, the key and the metre, as words."""
    title = re.sub(r"\s+", " ", DANCES.sub("", tune["title"])).strip(" -,'/") or "A tune"
    key = tune["key"]
    if match := re.fullmatch("([A-G])([b#]?)(m?)", key):
        letter, sign, minor = match.groups()
        key = letter + {"b": " flat", "#": " sharp", "": ""}[sign] + (" minor" if minor else " major")
    return f"{title}, in {key}, {tune['meter']} time"


def draw_piano_roll(tune: Tune, path: Path) -> None:
    """Draw the piano roll; the melody lies over the chords."""
    image = np.zeros((88, 128), np.uint8)
    for start, duration, pitch, track in tune["notes"]:
        if 21 <= pitch <= 108:
            first, last = start // 6, max(start // 6 + 1, round((start + duration) / 6))
            cells = image[108 - pitch, first : min(last, COLUMNS_DRAWN)]
            np.maximum(cells, 128 if track else 255, out=cells)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def play(tune: Tune, path: Path) -> None:
    """Render the start of the tune; the hash of its id is all that the tempo and the timbre depend on."""
    import soundfile

    from jointembed.demo.synth import Note, render

    name = tune["id"]
    tick = 60 / (100 + 50 * recipe_tools.hash_fraction(f"{name} tempo")) / 24  # 100 to 150 quarter notes a minute
    timbre = TIMBRES[int(recipe_tools.hash_fraction(f"{name} timbre") * len(TIMBRES))]
    notes = [
        Note(start * tick, 0.9 * duration * tick, pitch, 0.4 if track else 0.8, timbre)
        for start, duration, pitch, track in tune["notes"]
    ]
    samples = render(notes, RATE, SECONDS, seed=int(recipe_tools.hash_fraction(f"{name} room") * 2**32))
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name may belong to a hard link of an earlier source.
    path.unlink(missing_ok=True)
    soundfile.write(path, samples, RATE, subtype="PCM_16")


def splits(tunes: list[Tune]) -> dict[str, str]:
    """The split of every tune by its id."""
    side = {}
    for tune in tunes:
        part = recipe_tools.hash_fraction(plain(tune["title"]))
        side[tune["id"]] = tune.get("split") or ("train" if part < 0.8 else "valid" if part < 0.9 else "test")
    carved = recipe_tools.hold_out((plain(tune["title"]) for tune in tunes if side[tune["id"]] == "train"), 0.1)
    for tune in tunes:
        if side[tune["id"]] == "train" and plain(tune["title"]) in carved:
            side[tune["id"]] = "dev"
    return side


def main() -> None:
    sources, out, options = recipe_tools.Arguments(__doc__, FETCH).read()
    listed: list[Tune] = []
    recordings: dict[str, Path] = {}
    for source in sources:
        if (source / "rendered.csv").is_file():
            clips = recipe_tools.read_csv(source / "rendered.csv", ["filename", "id"])
            recordings |= {clip["id"]: source / clip["filename"] for clip in clips}
        elif (source / "nottingham.jsonl.gz").is_file():
            listed += nottingham.packed(source / "nottingham.jsonl.gz")
        elif (source / "ABC_cleaned").is_dir():
            listed += nottingham.repository(source)
        else:
            raise UsageError(source, "ABC_cleaned is missing, and so are nottingham.jsonl.gz and rendered.csv", FETCH)
    if not listed:
        raise UsageError(sources[0], "no source holds the tunes, ABC_cleaned/*.abc or nottingham.jsonl.gz", FETCH)
    tunes = [
        tune
        for tune in listed
        if tune["notes"] and (not recordings or (tune["id"] in recordings and recordings[tune["id"]].is_file()))
    ]
    side = splits(tunes)
    rows = []
    for tune in tunes:
        name = tune["id"]
        draw_piano_roll(tune, out / "piano_roll" / f"{name}.png")
        if not recordings:
            play(tune, out / "audio" / f"{name}.flac")
        row = {
            "id": name,
            "split": side[name],
            "audio": recipe_tools.link_or_copy(recordings[name], out, "audio") if recordings else f"audio/{name}.flac",
            "piano_roll": f"piano_roll/{name}.png",
            "caption": caption(tune),
            "artist": "traditional",
        }
        row |= {column: tune[column] for column in ("type", "title", "key", "meter")}
        rows.append(row | ({"genre": tune["type"]} if tune["type"] in RHYTHMS else {}))
    recipe_tools.write_rows(out, rows, skipped=len(listed) - len(tunes), split=options.split)


if __name__ == "__main__":
    recipe_tools.run_script(main)
