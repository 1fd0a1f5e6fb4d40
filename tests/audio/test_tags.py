"""Tags become short clean text, and never cost the sound."""

import os
import struct
from types import SimpleNamespace

import mutagen
import mutagen.apev2
import mutagen.id3
import numpy as np
import pytest
import sound_files
import soundfile
from sound_files import melody, pack

from jointembed.audio.cue import CueTrack
from jointembed.audio.workers import Decoders
from jointembed.audio.workers.tags import clean, tags
from jointembed.ingest.sound_file import metadata


def test_tags_are_short_clean_text(tmp_path):
    for name, data in {
        "a.mp3": pack(melody(0.6), "MP3"), "a.flac": pack(melody(0.6), "FLAC"), "a.ogg": pack(melody(0.6), "OGG"),
        "a.m4a": sound_files.encode(melody(0.6), "mp4", "aac"),
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(data)
        file = mutagen.File(tmp_path / name, easy=True)
        file["title"], file["artist"] = ["One\n\x07two\u202e<script>", "second"], ["\u200f  A  \u2028 B "]
        file["album"], file["genre"], file["date"] = ["x" * 5000], ["Folk"], ["2011-03-04"]
        file.save()
        expected = {"title": "One two<script>", "artist": "A B", "album": "x" * 1000, "genre": "Folk", "year": "2011"}
        assert tags(os.fsencode(tmp_path / name)) == expected, name
    with Decoders(8000) as decoders:
        assert next(decoders.map([os.fsencode(tmp_path / "a.mp3")])).tags == expected


@pytest.mark.parametrize("name", ["a.mp3", "a.flac", "a.ogg", "a.m4a", "a.wma", "ape.mp3"])
def test_all_artists_and_genres_are_kept(name, tmp_path):
    tune = melody(6 if name == "a.wma" else 0.6)  # mutagen makes its header claim more than there is
    content = {
        "mp3": lambda: pack(tune, "MP3"), "flac": lambda: pack(tune, "FLAC"), "ogg": lambda: pack(tune, "OGG"),
        "m4a": lambda: sound_files.encode(tune, "mp4", "aac"), "wma": lambda: sound_files.encode(tune, "asf", "wmav2"),
    }[name.rpartition(".")[2]]()  # fmt: skip
    (tmp_path / name).write_bytes(content)
    artists, genres = ["Ärzte", "\x07 ", "B & C", "Ärzte"], ["Folk", "Rock"]
    if name == "ape.mp3":
        file = mutagen.apev2.APEv2()
        file["Artist"], file["Genre"], file["Title"] = artists, genres, ["One", "Two"]
        file.save(tmp_path / name)
    elif name == "a.wma":
        file = mutagen.File(tmp_path / name)
        file["Author"], file["WM/Genre"], file["Title"] = artists, genres, ["One"]
        file.save()
    else:
        file = mutagen.File(tmp_path / name, easy=True)
        file["artist"], file["genre"], file["title"] = artists, genres, ["One", "Two"]
        file.save()
    assert tags(os.fsencode(tmp_path / name)) == {
        "title": "One",
        "artist": ["Ärzte", "B & C"],
        "genre": ["Folk", "Rock"],
    }
    with Decoders(8000) as decoders:
        row = metadata(next(decoders.map([os.fsencode(tmp_path / name)])))
    assert row["artist"] == ["Ärzte", "B & C"] and row["title"] == "One"


@pytest.mark.parametrize("name", ["a.mp3", "a.flac", "a.ogg", "a.m4a", "a.wma", "ape.mp3"])
def test_musicbrainz_recording_is_read_from_every_format(name, tmp_path):
    id = "b1a9c0e9-d987-4042-ae91-78d6a3267d69"
    tune = melody(6 if name == "a.wma" else 0.6)
    kind = {"mp3": "MP3", "flac": "FLAC", "ogg": "OGG"}.get(name.rpartition(".")[2])
    encoder = ("mp4", "aac") if name == "a.m4a" else ("asf", "wmav2")
    path = tmp_path / name
    path.write_bytes(pack(tune, kind) if kind else sound_files.encode(tune, *encoder))

    def save(text):
        if name == "a.mp3":
            frames = mutagen.id3.ID3()
            frames.add(mutagen.id3.UFID(owner="http://www.id3.org", data=b"another"))
            frames.add(mutagen.id3.UFID(owner="http://musicbrainz.org", data=text.encode()))
            return frames.save(path)
        file = mutagen.apev2.APEv2() if name == "ape.mp3" else mutagen.File(path)
        if name == "a.m4a":
            file["----:com.apple.iTunes:MusicBrainz Track Id"] = text.encode()
        else:
            file["MusicBrainz/Track Id" if name == "a.wma" else "MUSICBRAINZ_TRACKID"] = [text]
        file.save(path)

    save(id.upper())
    assert tags(path) == {"musicbrainz_recordingid": id}
    for wrong in ("none", id + "0", id[:-1]):
        save(wrong)
        assert tags(path) == {}


def test_recording_of_a_file_is_not_that_of_a_track_in_it():
    sound = SimpleNamespace(tags={"album": "A", "musicbrainz_recordingid": "an-id"}, seconds=9.0, partial=False)
    assert metadata(sound) == {"album": "A", "musicbrainz_recordingid": "an-id", "seconds": 9.0}
    assert metadata(sound, CueTrack(2, 3.0, None, {"track": 2})) == {
        "album": "A",
        "start": 3.0,
        "track": 2,
        "seconds": 9.0,
    }


def chunk(name, data, order="<"):
    return name + struct.pack(order + "I", len(data)) + data + bytes(len(data) % 2)


def test_texts_of_wav_and_aiff_chunks_are_tags(tmp_path):
    path = tmp_path / "a.wav"
    with soundfile.SoundFile(path, "w", 22050, 1) as file:
        file.title, file.artist, file.album, file.date = "Lied", "Ärzte", "Platte", "1998-05-01"
        file.genre, file.tracknumber = "Punk", "3"
        file.write(melody(0.6)[:, 0])
    expected = {"title": "Lied", "artist": "Ärzte", "album": "Platte", "genre": "Punk", "year": "1998", "track": "3"}
    assert tags(path) == expected
    file = mutagen.File(path)
    file.add_tags()
    file.tags.add(mutagen.id3.TIT2(text="Song"))
    file.save()
    assert tags(path) == {**expected, "title": "Song"}, "ID3 counts more"
    latin = chunk(b"LIST", b"adtl") + chunk(b"LIST", b"INFO" + chunk(b"IART", "Bjørk\0".encode("cp1252")))
    path.write_bytes(sound_files.wav(bytes(9000), after=latin))
    assert tags(path) == {"artist": "Bjørk"}
    aiff = pack(melody(0.6), "AIFF") + chunk(b"NAME", "Füge".encode(), ">") + chunk(b"AUTH", b"Bach", ">")
    path.write_bytes(aiff)
    assert tags(path) == {"title": "Füge", "artist": "Bach"}
    for cut in range(12, 60):
        path.write_bytes(latin[:0] + sound_files.wav(b"", after=latin)[:cut])
        assert tags(path) in ({}, {"artist": "Bjørk"})


@pytest.mark.parametrize("name, format", [("a.mp3", "MP3"), ("a.flac", "FLAC"), ("a.ogg", "OGG")])
def test_year_and_track_are_plausible_numbers(name, format, tmp_path):
    (tmp_path / name).write_bytes(pack(melody(0.6), format))
    file = mutagen.File(tmp_path / name, easy=True)
    for date, year in {
        "1999-05-01": "1999",
        "1999": "1999",
        "19990501": "1999",
        "1723": "1723",
        "0000": None,
    }.items():
        for track, number in {"3/12": "3", "03": "3", "0": None, "A1": None}.items():
            file["date"], file["tracknumber"] = [date], [track]
            file.save()
            expected = {"year": year, "track": number}
            assert tags(tmp_path / name) == {name: text for name, text in expected.items() if text}, (date, track)


def test_year_of_other_formats(tmp_path):
    mp3, m4a, wav, ape = (tmp_path / name for name in ("a.mp3", "a.m4a", "a.wav", "ape.mp3"))
    mp3.write_bytes(pack(melody(0.6), "MP3"))
    id3 = mutagen.id3.ID3()
    id3.add(mutagen.id3.TYER(text="1969"))
    id3.save(mp3, v2_version=3)
    m4a.write_bytes(sound_files.encode(melody(0.6), "mp4", "aac"))
    file = mutagen.File(m4a)
    file["\xa9day"], file["trkn"] = ["1970-01-01T08:00:00Z"], [(4, 9)]
    file.save()
    wav.write_bytes(pack(melody(0.6), "WAV"))
    file = mutagen.File(wav)
    file.add_tags()
    file.tags.add(mutagen.id3.TDRC(text="0000"))
    file.tags.add(mutagen.id3.TDOR(text="1971"))  # the next best
    file.save()
    ape.write_bytes(pack(melody(0.6), "MP3"))
    file = mutagen.apev2.APEv2()
    file["Year"], file["Track"] = "9999", "5"
    file.save(ape)
    assert [tags(path) for path in (mp3, m4a, wav)] == [
        {"year": "1969"},
        {"year": "1970", "track": "4"},
        {"year": "1971"},
    ]
    assert "year" not in tags(ape)


@pytest.mark.parametrize(
    "text", ["\0", "\ud800", "\u2066a\u2069", "a\x1b[31mb", "\r\n", "\x85", "\u2029", "x" * 10**6, "\u202e" * 3000]
)
def test_hostile_text_is_cleaned(text):
    cleaned = clean(text)
    cleaned.encode()
    assert len(cleaned) <= 1000 and cleaned.isprintable() and not set(cleaned) & set("\u202e\u2066\u2069")
    assert clean("Sk\u00e5n \U0001f468\u200d\U0001f469 \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 <b>&amp;") == (
        "Sk\u00e5n \U0001f468\u200d\U0001f469 \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 <b>&amp;"
    )


def test_corrupt_or_slow_tag_never_costs_the_sound(tmp_path, hook):
    path = tmp_path / "a.mp3"
    rng = np.random.default_rng(0)
    good = pack(melody(0.6), "MP3")
    for number in range(40):
        body = rng.bytes(200) if number % 2 else b"TIT2\x7f\x7f\x7f\x7f\0\0\x01\xff\xfe" + rng.bytes(100)
        path.write_bytes(sound_files.id3(len(body), body, 2 + number % 3) + good)
        assert all(text == clean(text) for text in tags(os.fsencode(path)).values())
    with Decoders(8000, workers=1, function="sound_files:slow_tags") as decoders:
        decoded = next(decoders.map([os.fsencode(path)]))
    assert not decoded.reason and not decoded.tags and len(decoded.samples)
