"""A cue sheet gives the tracks of an album, and of a sound file a part is decoded as if it were a file."""

import os

import numpy as np
import pytest
import sound_files
from sound_files import RATE, melody, pack

from jointembed.audio import decode
from jointembed.audio.cue import CueError, CueTrack, parse_cue
from jointembed.audio.workers import Decoders, FileSpan

SHEET = """REM GENRE "Soul Jazz"
REM DATE 1965
PERFORMER "Nina Simone"
TITLE "Café Blues"
FILE "album.flac" WAVE
  TRACK 01 AUDIO
    TITLE "Be My Husband"
    INDEX 01 00:00:00
  TRACK 02 AUDIO
    TITLE "Strange Fruit"
    PERFORMER "Billie"
    INDEX 00 00:01:00
    INDEX 01 00:02:15
  TRACK 03 AUDIO
    INDEX 01 01:03:00
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tracks_have_times_and_what_the_sheet_says(encoding, end):
    album = {"album": "Café Blues", "genre": "Soul Jazz", "year": 1965}
    assert parse_cue(SHEET.replace("\n", end).encode(encoding)) == {
        "album.flac": [
            CueTrack(1, 0.0, 2.2, {"title": "Be My Husband", "artist": "Nina Simone", **album, "track": 1}),
            CueTrack(2, 2.2, 63.0, {"title": "Strange Fruit", "artist": "Billie", **album, "track": 2}),
            CueTrack(3, 63.0, None, {"title": "Track 3", "artist": "Nina Simone", **album, "track": 3}),
        ]
    }


def test_sheet_of_a_file_a_track_names_each_of_them():
    text = "".join(f'FILE "{n}.wav" WAVE\nTRACK {n:02} AUDIO\nINDEX 01 00:00:00\n' for n in (1, 2))
    assert {name: len(tracks) for name, tracks in parse_cue(text.encode()).items()} == {"1.wav": 1, "2.wav": 1}


def test_a_track_is_in_the_file_of_its_first_sound_and_not_of_the_pause_before():
    text = """FILE "1.wav" WAVE
TRACK 01 AUDIO
INDEX 01 00:00:00
TRACK 02 AUDIO
INDEX 00 03:20:00
FILE "2.wav" WAVE
INDEX 01 00:00:00
"""
    assert {name: len(tracks) for name, tracks in parse_cue(text.encode()).items()} == {"1.wav": 1, "2.wav": 1}


@pytest.mark.parametrize("time", ["135", "00:02", "02.15", ""])
def test_start_in_another_notation_is_named_with_its_track(time):
    with pytest.raises(CueError, match="track 2 has no line such as INDEX 01 03:25:00"):
        parse_cue(SHEET.replace("INDEX 01 00:02:15", f"INDEX 01 {time}").encode())


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\0" * 1000, b"TITLE x", SHEET.replace("TRACK 03", "TRACK 02").encode(), SHEET.encode()[:-10],
        SHEET.replace("01:03:00", "00:01:00").encode(), SHEET.replace("FILE", "FIEL").encode(),
    ],
)  # fmt: skip
def test_broken_sheet_is_refused(data):
    with pytest.raises(CueError):
        parse_cue(data)


def test_any_bytes_are_tracks_or_an_error():
    rng = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(SHEET.encode())
        for at in rng.integers(0, len(data), 5):
            data[at] = rng.integers(0, 256)
        try:
            tracks = [track for group in parse_cue(bytes(data)).values() for track in group]
        except CueError:
            continue
        assert all(track.end is None or 0 <= track.start < track.end for track in tracks)


@pytest.mark.parametrize("name, format", [("a.wav", "WAV"), ("a.flac", "FLAC"), ("a.mp3", "MP3"), ("a.ogg", "OGG")])
def test_part_of_a_file_is_the_part_of_its_sound(name, format, tmp_path):
    path = tmp_path / name
    path.write_bytes(pack(melody(6), format))
    whole = decode(path, RATE).samples
    for start, end in ((0.0, 1.5), (1.25, 3.5), (4.0, None)):
        part = decode(path, RATE, start=start, end=end)
        assert not part.partial and part.seconds == pytest.approx((end or len(whole) / RATE) - start, abs=1e-4)
        assert np.array_equal(part.samples, whole[round(start * RATE) : None if end is None else round(end * RATE)])


def test_workers_decode_parts_and_refuse_those_beyond_the_end(tmp_path):
    path = tmp_path / "a.m4a"
    path.write_bytes(sound_files.encode(melody(4), "mp4", "aac"))
    parts = [FileSpan(os.fsencode(path), 1.0, 2.0), FileSpan(os.fsencode(path), 60.0, 61.0)]
    with Decoders(8000, workers=1) as decoders:
        good, beyond = decoders.map(parts)
    assert good.path == parts[0] and good.seconds == pytest.approx(1.0) and len(good.samples) == 8000
    assert beyond.samples is None and beyond.reason in ("no-audio", "truncated")
