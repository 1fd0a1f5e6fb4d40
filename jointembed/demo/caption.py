"""Captions: what a listener might write about a song, in varied words, each telling a part of it."""

from __future__ import annotations

from random import Random

from .compose import Song

SENTENCES = (
    "a fast fiddle tune for a village dance",
    "slow drifting pads without drums",
    "heavy distorted guitar and double kick drums",
)

_NAMES = {
    "waltz": ("waltz", "ballroom waltz", "old-time waltz"),
    "reel": ("reel", "folk reel", "Irish reel"),
    "blues": ("blues", "blues shuffle", "electric blues"),
    "swing": ("swing tune", "jazz swing number", "swing standard"),
    "bossa nova": ("bossa nova", "Brazilian bossa nova", "bossa nova song"),
    "reggae": ("reggae song", "roots reggae tune", "Jamaican reggae groove"),
    "hip hop": ("hip hop beat", "hip hop track", "boom bap hip hop loop"),
    "techno": ("techno track", "club techno anthem", "warehouse techno cut"),
    "metal": ("metal song", "heavy metal track", "thrash metal riff"),
    "ambient": ("ambient piece", "ambient soundscape", "drifting ambient track"),
}
_CHARACTER = {
    "waltz": (
        "an oom-pah-pah that turns round and round",
        "one strong beat and two light ones",
        "a graceful dance in three",
        "couples gliding across a ballroom",
    ),
    "reel": (
        "a stream of running notes that never rests",
        "a tune for stamping feet at a village dance",
        "quick folk dancing in a crowded pub",
        "nimble fingers racing through a traditional tune",
    ),
    "blues": (
        "a lazy shuffle and bent, crying phrases",
        "call and answer between the soloist and the band",
        "a smoky bar late at night",
        "dominant chords rolling over a shuffle",
    ),
    "swing": (
        "a walking bass under a bouncing ride cymbal",
        "rich seventh chords dropped between the beats",
        "a small jazz club with the band in full stride",
        "improvised lines over a two five one",
    ),
    "bossa nova": (
        "gentle syncopated chords and a soft clave",
        "a warm evening by the beach in Rio",
        "relaxed Latin syncopation with silky harmony",
        "a whispering rhythm that sways without hurry",
    ),
    "reggae": (
        "chords chopped on the off-beat over a deep bass line",
        "a one drop beat with plenty of space",
        "a sunny island groove",
        "a skank between the beats and a rolling bass",
    ),
    "hip hop": (
        "a head-nodding backbeat with a lazy kick",
        "a looped phrase over a laid-back street beat",
        "a beat that waits for a rapper",
        "boom and snap on a slow heavy groove",
    ),
    "techno": (
        "a four on the floor kick and hats between the beats",
        "a hypnotic machine pulse for a dark dance floor",
        "repeating patterns that build through the night",
        "a relentless electronic loop",
    ),
    "metal": (
        "galloping power chords and double kick drums",
        "an aggressive wall of palm-muted riffs",
        "headbanging in front of huge amplifiers",
        "furious riffing in a dark mood",
    ),
    "ambient": (
        "long floating chords that hardly move",
        "a calm background for sleeping or thinking",
        "wide open space and slow drifting tones",
        "a weightless sound bath",
    ),
}
_CALLED = {
    "piano": ("piano", "grand piano"),
    "electric piano": ("electric piano", "mellow keys"),
    "bell": ("bells", "vibraphone", "glassy bells"),
    "organ": ("organ", "drawbar organ"),
    "accordion": ("accordion", "squeezebox"),
    "guitar": ("guitar", "acoustic guitar", "plucked guitar"),
    "electric guitar": ("electric guitar", "clean electric guitar"),
    "distorted guitar": ("distorted guitar", "overdriven guitar", "fuzzy guitar"),
    "strings": ("strings", "string section", "bowed strings"),
    "fiddle": ("fiddle", "violin"),
    "flute": ("flute", "airy flute", "wooden flute"),
    "reed": ("clarinet", "reed", "woodwind"),
    "brass": ("brass", "horns", "trumpet"),
    "synth lead": ("synth lead", "buzzing synthesizer", "synth"),
    "synth pad": ("synth pad", "soft pads", "synthesizer pads"),
    "bass": ("bass", "bass guitar", "round bass"),
    "synth bass": ("synth bass", "electronic bass", "sub bass"),
}
_PLAYED = {
    "thump": "electronic kick",
    "kick": "kick drum",
    "rim": "rim clicks",
    "snare": "snare",
    "clap": "hand claps",
    "hat": "hi-hats",
    "tom": "hand drum",
    "open hat": "open hi-hats",
    "crash": "crash cymbals",
    "ride": "ride cymbal",
    "shaker": "shaker",
}
_PACE = (
    (104, ("slow", "unhurried", "relaxed", "easy-going")),
    (124, ("moderate", "medium", "steady", "measured")),
    (999, ("fast", "quick", "lively", "brisk")),
)
_MOOD = {
    "major": ("cheerful", "bright", "warm", "happy", "sunny", "light-hearted"),
    "minor": ("dark", "wistful", "brooding", "sad", "moody", "melancholy"),
}
_THREE = ("in three four time", "in triple metre", "counted in three")
_FOUR = ("in four four time", "in common time", "counted in four")
_NO_DRUMS = ("without drums", "no drums at all", "played without percussion")

_NAMED = (
    "{a_pace} {name} with {lead}",
    "{name}, {mood} and {pace}, led by {lead}",
    "{a_pace} {name}: {character}",
    "{name} for {lead} and {chords}",
    "{a_mood} {name} in {key}, {pace}",
    "{a_pace} {mood} {name} {meter}",
)
_UNNAMED = (
    "{character}, {pace} and {mood}",
    "{character}, with {lead}",
    "{character}, {drums}",
    "{character}: {lead} and {chords}",
)
_SOUNDS = (
    "{a_mood} {pace} tune on {lead} over {bass}",
    "{lead} plays over {chords} and {bass}, {drums}",
    "{a_pace} instrumental {meter}, {mood}, {drums}",
    "{a_mood} melody for {lead}, {chords} behind it",
    "{lead}, {chords} and {bass} at a {pace} tempo",
    "{pace} {mood} music in {key} with {chords}",
)


def captions(song: Song, random: Random) -> list[str]:
    """Three or four captions: one names the genre, one tells its character, and one only what is heard."""
    chosen = [random.choice(_NAMED), random.choice(_UNNAMED), random.choice(_SOUNDS)]
    if random.random() < 0.5:
        chosen.append(random.choice((*_NAMED, *_UNNAMED, *_SOUNDS)))
    random.shuffle(chosen)
    return [_fill(template, song, random) for template in chosen]


def _fill(template: str, song: Song, random: Random) -> str:
    pace = random.choice(next(words for limit, words in _PACE if song.tempo < limit))
    mood = random.choice(_MOOD[song.key.split()[1]])
    drums = random.choice(_NO_DRUMS)
    if song.drums:
        drums = random.choice(("with ", "driven by ", "carried by ")) + " and ".join(
            _PLAYED[drum] for drum in random.sample(song.drums, min(2, len(song.drums)))
        )
    words = {
        "name": random.choice(_NAMES[song.genre]),
        "character": random.choice(_CHARACTER[song.genre]),
        "pace": pace,
        "mood": mood,
        "a_pace": _article(pace),
        "a_mood": _article(mood),
        "lead": random.choice(_CALLED[song.parts["lead"]]),
        "chords": ("more " if song.parts["chords"] == song.parts["lead"] else "")
        + random.choice(_CALLED[song.parts["chords"]]),
        "bass": random.choice(_CALLED[song.parts["bass"]]),
        "drums": drums,
        "meter": random.choice(_THREE if song.meter == 3 else _FOUR),
        "key": song.key,
    }
    return template.format_map(words)


def _article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
