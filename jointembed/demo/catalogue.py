"""Writes the catalogue: audio, piano rolls, captions, and the table that ties them together."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import soundfile

from .. import files
from . import piano_roll
from .captions import captions
from .compose import GENRES, Song, compose
from .synth import Samples, render

RATE = 22050
# Ten songs of a genre in turn: seven for training, one for early stopping, two for the final test.
_SPLITS = "train train test train train dev train train test train".split()


def write(out: Path, songs: int = 240, seed: int = 0, progress: Callable[[int, int], None] | None = None) -> Path:
    """Write a catalogue to a folder and return the path of its table, rows.jsonl.

    Audio goes to audio/ID.flac (16 bits, mono, 22,050 Hz), piano rolls to piano_roll/ID.png, and two seconds of each
    genre to listen.flac. Existing files are kept, since every file is written completely or not at all and its id
    contains a digest of the music; so an interrupted run goes on where it stopped. The same seed gives the same bytes.

    Args:
        out: the folder, created if needed.
        songs: the number of songs; the genres take turns.
        seed: of everything: the music, the recording, the captions and the split.
        progress: called with (songs done, all songs).
    """
    out = Path(out)
    composed = [compose(number, seed) for number in range(songs)]
    with ThreadPoolExecutor(2) as pool:  # the synthesiser spends its time in numpy, which lets other threads run
        jobs = [pool.submit(_write_files, out, song, f"{seed}/{number}") for number, song in enumerate(composed)]
        try:
            for done, job in enumerate(as_completed(jobs), 1):
                job.result()
                if progress:
                    progress(done, songs)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    _write_flac(out / "listen.flac", _excerpts(composed[: len(GENRES)], seed))
    lines = []
    for number, (song, split) in enumerate(zip(composed, split_songs(composed, seed), strict=True)):
        row = {
            "id": song.id,
            "split": split,
            "title": song.title,
            "audio": f"audio/{song.id}.flac",
            "piano_roll": f"piano_roll/{song.id}.png",
            "caption": captions(song, Random(f"{seed}/{number} captions")),
            "genre": song.genre,
            "artist": song.artist,
            "tempo": song.tempo,
            "key": song.key,
        }
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    files.write(out / "rows.jsonl", "".join(lines))
    return out / "rows.jsonl"


def split_songs(songs: list[Song], seed: int) -> list[str]:
    """A split for each song: 70 % train, 10 % dev, 20 % test, of each genre and of all songs."""
    order = list(range(len(songs)))
    Random(f"{seed} split").shuffle(order)
    order.sort(key=lambda number: list(GENRES).index(songs[number].genre))
    splits = [""] * len(songs)
    for position, number in enumerate(order):
        splits[number] = _SPLITS[position % len(_SPLITS)]
    return splits


def _write_files(out: Path, song: Song, seed: str) -> None:
    """Write the audio and the piano roll of a song unless they exist."""
    audio, image = out / "audio" / f"{song.id}.flac", out / "piano_roll" / f"{song.id}.png"
    if not audio.exists():
        _write_flac(audio, _record(song, seed))
    if not image.exists():
        piano_roll.write(image, piano_roll.piano_roll(song.notes, step_seconds=15 / song.tempo))


def _record(song: Song, seed: str) -> Samples:
    return render(song.notes, RATE, song.seconds, Random(f"{seed} recording").getrandbits(32))


def _write_flac(path: Path, samples: Samples) -> None:
    files.write(path, partial(soundfile.write, data=samples, samplerate=RATE, format="FLAC", subtype="PCM_16"))


def _excerpts(songs: list[Song], seed: int) -> Samples:
    """Two seconds of each song, from its theme on, faded at both ends."""
    ramp = np.minimum(np.arange(2 * RATE) / (0.05 * RATE), 1).astype(np.float32)
    excerpts = [np.zeros(0, np.float32)]
    for number, song in enumerate(songs):
        begin = round(song.sections[1][1] * RATE)
        excerpts.append(_record(song, f"{seed}/{number}")[begin : begin + 2 * RATE] * ramp * ramp[::-1])
    return np.concatenate(excerpts)
