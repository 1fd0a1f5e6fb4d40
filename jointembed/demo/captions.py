"""Captions: what a listener might write about a song, in varied words that each tell a part of it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from random import Random

from .compose import Song

QUERIES = (
    "a fast fiddle tune for a village dance",
    "slow drifting pads without drums",
    "heavy distorted guitar and double kick drums",
)
_WORDS = tomllib.loads(Path(__file__).with_name("captions.toml").read_text("utf-8"))


def captions(song: Song, random: Random) -> list[str]:
    """Six captions: two name the genre, two tell its character, and two only what is heard."""
    kinds = [_WORDS["naming_sentences"], _WORDS["character_sentences"], _WORDS["sounds_sentences"]]
    sentences = [sentence for kind in kinds for sentence in random.sample(kind, 2)]
    random.shuffle(sentences)
    return [_fill(sentence, song, random) for sentence in sentences]


def _fill(sentence: str, song: Song, random: Random) -> str:
    pace = random.choice(next(pace["words"] for pace in _WORDS["paces"] if song.tempo < pace["below"]))
    mood = random.choice(_WORDS["moods"][song.key.split()[1]])
    drums = random.choice(_WORDS["no_drums"])
    if song.drums:
        drums = random.choice(("with ", "driven by ", "carried by ")) + " and ".join(
            _WORDS["drums"][drum] for drum in random.sample(song.drums, min(2, len(song.drums)))
        )
    lead, chords, bass = song.parts["lead"], song.parts["chords"], song.parts["bass"]
    return sentence.format(
        name=random.choice(_WORDS["names"][song.genre]),
        character=random.choice(_WORDS["characters"][song.genre]),
        pace=pace,
        mood=mood,
        a_pace=_with_article(pace),
        a_mood=_with_article(mood),
        lead=random.choice(_WORDS["instruments"][lead]),
        chords=("more " if chords == lead else "") + random.choice(_WORDS["instruments"][chords]),
        bass=random.choice(_WORDS["instruments"][bass]),
        drums=drums,
        meter=random.choice(_WORDS["three" if song.meter == 3 else "four"]),
        key=song.key,
    )


def _with_article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
