"""What makes the genres and the artists of the demo: a small tablature, read by `compose`.

A pattern is one bar, a character a sixteenth: `.` is silence, `-` holds the note before. Drums and chords: `X` accent,
`x` plain, `o` soft. Bass: `1 3 5 6 7 8` are steps of the chord, `a` leads into the next root. Chords are also broken:
`1` to `5` are notes of the voicing from below. Melodies: `x` marks a beginning. Harmony is in Roman numerals, one a bar
(or `ii7,V7`: two a bar): lower case is minor, `7` the small seventh, `M7` the large one, `5` a bare fifth.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Style:
    """One genre. No instrument, mode or tempo belongs to it alone: what tells it is how they go together.

    Args:
        tempo: slowest and fastest, quarters a minute.
        changes: a mode and a chord sequence each.
        drums: one pattern a drum; an empty set plays without.
        bass, comp, lead: the patterns to choose from.
        leads, comps, basses: the instruments to choose from.
        swing: where the second half of a beat falls, 0.5 straight, 0.67 triplets.
        wide: share of melody moves wider than a step.
        pad: how often a held chord lies under it.
        loose: spread of the players' timing in seconds.
        low: the pitch around which chords are laid.
    """

    tempo: tuple[int, int]
    changes: tuple[tuple[str, str], ...]
    drums: tuple[dict[str, str], ...]
    bass: tuple[str, ...]
    comp: tuple[str, ...]
    lead: tuple[str, ...]
    leads: tuple[str, ...]
    comps: tuple[str, ...]
    basses: tuple[str, ...] = ("bass",)
    swing: float = 0.5
    wide: float = 0.25
    pad: float = 0.2
    loose: float = 0.008
    low: int = 60


@dataclass(frozen=True)
class Artist:
    """A fictional performer: the genres played, and the habits that stay the same in all of them."""

    name: str
    genres: tuple[str, ...]
    lead: str
    comp: str
    octave: int = 0
    touch: float = field(default=0.0)  # added to every velocity


STYLES = {
    "waltz": Style(
        tempo=(92, 150),
        changes=(
            ("major", "I I V7 V7 V7 V7 I I"),
            ("major", "I vi ii7 V7 I IV V7 I"),
            ("minor", "i iv V7 i bVI iv V7 i"),
        ),
        drums=({}, {"kick": "x...........", "snare": "....o...o..."}, {"kick": "o...........", "hat": "....x...x..."}),
        bass=("1---........", "1---....5---", "1-----------"),
        comp=("....x-..x-..", "....x---x---", "....x.x.x.x."),
        lead=("x-------x---", "x---x---x---", "x-----x-x-x-", "x-x-x---x---", "x-----------"),
        leads=("accordion", "strings", "fiddle", "flute", "piano"),
        comps=("accordion", "piano"),
        wide=0.4,
    ),
    "reel": Style(
        tempo=(92, 144),
        changes=(
            ("dorian", "i i bVII bVII i i bVII,v i"),
            ("major", "I I IV V I IV V I"),
            ("mixolydian", "I I bVII bVII I bVII IV I"),
        ),
        drums=({}, {"tom": "X.oxo.oxX.oxo.ox"}, {"tom": "x..ox..ox..ox.oo"}),
        bass=("1---5---1---5---", "1-------1-------"),
        comp=("x-.xx-.xx-.xx-.x", "..x-..x-..x-..x-", "x---x---x---x---"),
        lead=("xxxxxxxxxxxxxxxx", "x-xxxxxxx-xxxxxx", "xxxxx-x-xxxxx-x-", "x-xxx-xxx-xxx-x-"),
        leads=("fiddle", "flute", "accordion", "reed", "guitar"),
        comps=("guitar", "piano", "accordion"),
        wide=0.3,
    ),
    "blues": Style(
        tempo=(84, 136),
        changes=(
            ("blues", "I7 IV7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7"),
            ("blues", "I7 I7 I7 I7 IV7 IV7 I7 I7 V7 V7 I7 I7"),
            ("minor", "i7 i7 i7 i7 iv7 iv7 i7 i7 bVI7 V7 i7 V7"),
        ),
        drums=(
            {"kick": "x.......x.....o.", "snare": "....x.......x...", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "x...o...x...o...", "snare": "....x..o....x..o", "ride": "x...x.o.x...x.o."},
        ),
        bass=("1-1-3-3-5-5-6-6-", "1---3---5---6---", "1---1-5-6---5-3-"),
        comp=("x-x-o-x-x-x-o-x-", "....x.......x...", "x-----x-........"),
        lead=("x-x-x---....x-x-", "..x-x-x-x-----..", "x-----x-x-......", "....x-x-x-x-x---"),
        leads=("electric guitar", "distorted guitar", "organ", "piano"),
        comps=("electric guitar", "piano", "organ"),
        swing=0.64,
        wide=0.3,
    ),
    "swing": Style(
        tempo=(100, 158),
        changes=(
            ("major", "IM7 vi7 ii7 V7 iii7 vi7 ii7 V7"),
            ("major", "ii7 V7 IM7 IM7 ii7,V7 iii7,vi7 ii7,V7 IM7"),
            ("minor", "i7 iv7 bVII7 bIIIM7 bVIM7 ii7 V7 i7"),
        ),
        drums=(
            {"ride": "x...x.o.x...x.o.", "hat": "....x.......x..."},
            {"ride": "x...x.o.x...x.o.", "hat": "....x.......x...", "kick": "o...o...o...o..."},
            {"snare": "o...x.o.o...x.o.", "kick": "x.......x......."},
        ),
        bass=("1---3---5---a---", "1---5---8---a---", "1---3---6---a---"),
        comp=("......x-....x...", "x-....x-........", "..x-........x-..", "o---o---o---o---"),
        lead=("x-x-x-x---x-..x-", "..x-x-x-x-x-x---", "x---..x-x-x-x-..", "..x-----x-x-..x-"),
        leads=("reed", "brass", "piano", "bell"),
        comps=("piano", "guitar", "electric guitar"),
        swing=0.66,
        wide=0.35,
    ),
    "bossa nova": Style(
        tempo=(92, 150),
        changes=(
            ("major", "IM7 IM7 ii7 V7 iii7 vi7 ii7 V7"),
            ("major", "IM7 bVIIM7 IM7 ii7,V7"),
            ("minor", "i7 iv7 V7 i7 bVIM7 ii7 V7 i7"),
        ),
        drums=(
            {"rim": "x.....x.....x...", "shaker": "xoxoxoxoxoxoxoxo", "kick": "x..ox...x..ox..."},
            {"rim": "x..x..x...x..x..", "hat": "x.x.x.x.x.x.x.x."},
            {"shaker": "x.x.x.x.x.x.x.x."},
        ),
        bass=("1-----5-5-----1-", "1-----5-1-----5-", "1-------5-----a-"),
        comp=("x-.x-.x-..x-.x..", "x-.x..x-.x..x-.x", "x--x--x---x--x--"),
        lead=("x--x--x-----x-x-", "..x--x--x-----..", "x-----x--x--x---", "....x--x--x--x--"),
        leads=("flute", "guitar", "reed", "electric piano"),
        comps=("guitar", "piano", "electric piano"),
        wide=0.35,
    ),
    "reggae": Style(
        tempo=(92, 150),
        changes=(
            ("major", "I IV I V"),
            ("major", "I vi IV V"),
            ("minor", "i iv i bVII"),
            ("minor", "i bVII bVI bVII"),
        ),
        drums=(
            {"kick": "........X.......", "rim": "........x.......", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "........X.......", "snare": "........x.....o.", "hat": "..x...x...x...x."},
            {"kick": "x...x...x...x...", "rim": "........x.......", "hat": "x.oxx.oxx.oxx.ox"},
        ),
        bass=("1---..1-3-5---..", "....1-1-3---5-..", "1-1---5-..5-3-1-"),
        comp=("..x...x...x...x.", "....x.......x...", "..x.o.x...x.o.x."),
        lead=("x---x-x-....x---", "..x-x-----......", "x-----..x-x-x---", "....x-x-x---...."),
        leads=("organ", "brass", "reed", "electric piano"),
        comps=("electric guitar", "organ"),
        basses=("bass", "synth bass"),
        pad=0.2,
    ),
    "hip hop": Style(
        tempo=(84, 132),
        changes=(
            ("minor", "i i bVI bVI"),
            ("minor", "i7 iv7 i7 V7"),
            ("dorian", "i7 IV7 i7 IV7"),
            ("major", "IM7 IM7 vi7 vi7"),
        ),
        drums=(
            {"kick": "x.....x..xx.....", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
            {"thump": "x..x......x..x..", "clap": "....x.......x...", "hat": "x.xxx.x.x.xxx.xo"},
            {"kick": "x.x....x..x.....", "snare": "....x..o.o..x...", "shaker": "x.x.x.x.x.x.x.x."},
        ),
        bass=("1-----1..1-.....", "1--1------5--8--", "1-......1-1-...."),
        comp=("x-------......x-", "x--x--x-........", "1-3-5-3-1-3-4-3-", "..x-....x---...."),
        lead=("x-x-..x-........", "x--x--x-....x-..", "....x-x-x---....", "x-------x-x-...."),
        leads=("electric piano", "flute", "brass", "strings", "synth lead"),
        comps=("electric piano", "strings", "piano"),
        basses=("synth bass", "bass"),
        swing=0.57,
        pad=0.35,
    ),
    "techno": Style(
        tempo=(100, 150),
        changes=(
            ("minor", "i i i i"),
            ("minor", "i i bVI bVII"),
            ("phrygian", "i i bII i"),
            ("dorian", "i i IV i"),
        ),
        drums=(
            {"thump": "X...X...X...X...", "open hat": "..x...x...x...x.", "clap": "....x.......x..."},
            {"thump": "X...X...X...X...", "hat": "xoxoxoxoxoxoxoxo", "rim": "...x..x....x..x."},
            {"kick": "X...X...X...X...", "open hat": "..x...x...x...x.", "shaker": "xxxxxxxxxxxxxxxx"},
        ),
        bass=("..1...1...1...1.", ".111.111.111.111", "1.1..1.11.1..1.8"),
        comp=("..x...x...x...x.", "x..x..x..x..x.x.", "1352135213521352", "1.3.5.3.1.3.5.3."),
        lead=("x..x..x.x..x..x.", "xxx.xxx.xxx.xxx.", "x-----..x-x-....", "..x...x...x.x.x."),
        leads=("synth lead", "bell", "strings", "organ"),
        comps=("synth lead", "synth pad", "organ"),
        basses=("synth bass",),
        pad=0.45,
        loose=0.0,
    ),
    "metal": Style(
        tempo=(92, 156),
        changes=(
            ("minor", "i5 i5 bVI5 bVII5"),
            ("phrygian", "i5 bII5 i5 bVII5"),
            ("minor", "i5 bIII5 bVII5 iv5"),
        ),
        drums=(
            {"kick": "x.xxx.xxx.xxx.xx", "snare": "....X.......X...", "crash": "x..............."},
            {"kick": "xxxxxxxxxxxxxxxx", "snare": "....X.......X...", "ride": "x...x...x...x..."},
            {"kick": "x.x...x.x.x...x.", "snare": "....X.......X...", "open hat": "x...x...x...x..."},
        ),
        bass=("1.111.111.111.11", "1111111111111111", "1-..1-1-1-..1-1-"),
        comp=("x.xxx.xxx.xxx.xx", "xxxxxxxxxxxxx-x-", "x-------x-x-x---", "x.xxx-..x.xxx-x-"),
        lead=("xxxxxxxxxxxxx---", "x---x---x-x-x---", "x-------x-------", "x-xxx-xxx-xxx---"),
        leads=("distorted guitar", "synth lead", "strings", "organ"),
        comps=("distorted guitar", "distorted guitar", "electric guitar"),
        basses=("bass", "synth bass"),
        loose=0.004,
        low=46,
    ),
    "ambient": Style(
        tempo=(84, 146),
        changes=(
            ("major", "IM7 IM7 IVM7 IVM7"),
            ("dorian", "i7 i7 IV7 IV7"),
            ("minor", "i7 i7 bVIM7 bVIM7"),
            ("mixolydian", "I I bVII IV"),
        ),
        drums=({}, {}, {"shaker": "o...o...o...o..."}, {"thump": "o..............."}),
        bass=("1---------------", "1-------5-------"),
        comp=("x---------------", "1---3---5---4---", "1---..3-----5---", "x-------x-------"),
        lead=("x-----------....", "x---....x-------", "....x-------x---", "x---------------"),
        leads=("bell", "flute", "piano", "strings"),
        comps=("synth pad", "strings", "electric piano"),
        basses=("synth bass", "bass"),
        wide=0.6,
        pad=0.9,
        loose=0.02,
    ),
}
ARTISTS = (
    Artist("The Tin Lanterns", ("reel", "waltz"), "fiddle", "guitar", touch=0.05),
    Artist("Odile Marchetti", ("waltz", "bossa nova"), "accordion", "piano", touch=-0.05),
    Artist("Copper Wren", ("reel", "ambient", "waltz"), "flute", "guitar", octave=1),
    Artist("Big Easton Weems", ("blues",), "electric guitar", "organ", touch=0.05),
    Artist("Mara Quill Trio", ("swing", "bossa nova", "blues"), "piano", "electric guitar"),
    Artist("Lowell Finch Quintet", ("swing", "blues"), "reed", "piano"),
    Artist("Delmont and the Tide", ("reggae",), "organ", "electric guitar"),
    Artist("Caldera Sound", ("reggae", "hip hop"), "brass", "electric piano", touch=0.05),
    Artist("Hollow Circuit", ("techno", "hip hop"), "synth lead", "electric piano", octave=-1),
    Artist("Juno Kestrel", ("ambient", "techno"), "bell", "synth pad", touch=-0.05),
    Artist("North of Ash", ("metal", "ambient"), "strings", "electric guitar"),
    Artist("Iron Vesper", ("metal",), "distorted guitar", "distorted guitar", touch=0.1),
)
