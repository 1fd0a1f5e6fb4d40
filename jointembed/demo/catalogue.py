"""Writes the catalogue: audio, scores, captions and the table that ties them."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from random import Random
from typing import IO, Any

import numpy as np
import soundfile

from .. import files
from . import score
from .caption import captions
from .compose import GENRES, Song, compose
from .synth import Samples, render

RATE = 22050

# Ten songs of a genre in turn: seven train, one waits (dev), two are asked about at the end (test).
_SPLITS = "train train test train train dev train train test train".split()


def write(out: Path, songs: int = 240, seed: int = 0, progress: Callable[[int, int], None] | None = None) -> Path:
    """Write a catalogue to a folder and return the path of its table, rows.jsonl.

    Audio goes to audio/ID.flac (16 bits, mono, 22,050 Hz), scores to score/ID.png, and two seconds of each genre to
    listen.flac. Files that are there are kept, as every file is written whole or not at all and the digest in an id
    stands for the music; so an interrupted run goes on where it stopped. The same seed gives the same bytes.

    Args:
        out: the folder, made if need be.
        songs: how many songs; the genres take turns.
        seed: of everything: the composing, the recording, the captions and the split.
        progress: called with (songs done, songs in all).
    """
    out = Path(out)
    composed = [compose(number, seed) for number in range(songs)]
    # The synthesiser spends its time in array operations, which let other threads run.
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(_produce, out, song, f"{seed}/{number}") for number, song in enumerate(composed)]
        try:
            for done, job in enumerate(as_completed(jobs), 1):
                job.result()
                if progress:
                    progress(done, songs)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    files.write(out / "listen.flac", _flac(_listen(composed, seed)))
    rows = [
        _row(song, split, Random(f"{seed}/{number} captions"))
        for number, (song, split) in enumerate(zip(composed, _split(composed, seed), strict=True))
    ]
    table = out / "rows.jsonl"
    files.write(table, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return table


def _row(song: Song, split: str, random: Random) -> dict[str, Any]:
    return {
        "id": song.id,
        "split": split,
        "title": song.title,
        "audio": f"audio/{song.id}.flac",
        "score": f"score/{song.id}.png",
        "caption": captions(song, random),
        "genre": song.genre,
        "artist": song.artist,
        "tempo": song.tempo,
        "key": song.key,
    }


def _split(songs: list[Song], seed: int) -> list[str]:
    """A split for each song: 70 % train, 10 % dev, 20 % test, shared out within each genre and over all."""
    order = list(range(len(songs)))
    Random(f"{seed} split").shuffle(order)
    order.sort(key=lambda number: GENRES.index(songs[number].genre))
    splits = [""] * len(songs)
    for place, number in enumerate(order):
        splits[number] = _SPLITS[place % len(_SPLITS)]
    return splits


def _recording(seed: str) -> int:
    return Random(f"{seed} recording").getrandbits(32)


def _produce(out: Path, song: Song, seed: str) -> None:
    """Render and write what is missing of one song."""
    audio, picture = out / "audio" / f"{song.id}.flac", out / "score" / f"{song.id}.png"
    if not audio.exists():
        files.write(audio, _flac(render(song.notes, RATE, song.seconds, _recording(seed))))
    if not picture.exists():
        score.write(picture, score.roll(song.notes, step_seconds=15 / song.tempo))


def _flac(samples: Samples) -> Callable[[IO[bytes]], None]:
    return lambda file: soundfile.write(file, samples, RATE, format="FLAC", subtype="PCM_16")


def _listen(songs: list[Song], seed: int) -> Samples:
    """Two seconds of the first song of each genre, from its theme on, faded at both ends."""
    ramp = np.minimum(np.arange(2 * RATE) / (0.05 * RATE), 1).astype(np.float32)
    excerpts = []
    for number, song in enumerate(songs[: len(GENRES)]):
        sound = render(song.notes, RATE, song.seconds, _recording(f"{seed}/{number}"))
        begin = round(song.sections[1][1] * RATE)
        excerpts.append(sound[begin : begin + 2 * RATE] * ramp * ramp[::-1])
    return np.concatenate(excerpts) if excerpts else np.zeros(0, np.float32)
