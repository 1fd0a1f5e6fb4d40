"""The table of a music folder: tags, folders, playlists, ratings and comments; artists stay on one side of a split."""

import json
import runpy
import sys
from collections import Counter
from pathlib import Path

import mutagen
import mutagen.id3
import pytest
from sound_files import melody, pack


@pytest.fixture
def prepare(prepared, tmp_path):
    return lambda *arguments: prepared("music", tmp_path / "out", *arguments, tmp_path / "out")


def write_song(path, **tags):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pack(melody(0.3), "OGG"))
    file = mutagen.File(path)
    file.update({name: [value] for name, value in tags.items()})
    file.save()


def write_mp3(path, frames):
    path.write_bytes(pack(melody(0.3), "MP3"))
    tags = mutagen.id3.ID3()
    for frame in frames:
        tags.add(frame)
    tags.save(path)


@pytest.fixture
def library(tmp_path):
    """Twelve artists with two songs each, one of them with a guest, and one folder without tags."""
    music = tmp_path / "music"
    for number in range(12):
        name = f"Artist {number}"
        write_song(music / name / "Été.ogg", artist=name, album="Greatest Hits", title="Summer", date="1999-01-01")
        write_song(music / name / "b.ogg", artist=f"The {name} feat. Nobody", album="Greatest Hits")
    write_song(music / "unsorted" / "c.ogg")
    return music


def test_first_of_several_artists_is_the_artist_of_the_row(prepare, tmp_path):
    write_song(tmp_path / "music" / "a.ogg", artist="A", title="Duet")
    file = mutagen.File(tmp_path / "music" / "a.ogg")
    file["artist"], file["musicbrainz_trackid"] = ["A", "B"], ["b1a9c0e9-d987-4042-ae91-78d6a3267d69"]
    file.save()
    [row] = prepare(tmp_path / "music")
    assert (row["artist"], row["groups"]) == ("A", ["artist: a"])
    assert row["musicbrainz_recordingid"] == "b1a9c0e9-d987-4042-ae91-78d6a3267d69"


def test_artists_stay_on_one_side_and_albums_of_one_name_apart(prepare, library):
    rows = {row["id"]: row for row in prepare(library)}
    assert len(rows) == 25
    for number in range(12):
        first, second = rows[f"Artist {number}/Été.ogg"], rows[f"Artist {number}/b.ogg"]
        assert first["split"] == second["split"]
        assert first["groups"] == second["groups"] == [
            f"artist: artist {number}", f"album: artist {number} / Greatest Hits",
        ]  # fmt: skip
        assert first["title"] == "Summer" and first["year"] == 1999
    assert {row["split"] for row in rows.values()} == {"train", "dev", "test"}
    assert "groups" not in rows["unsorted/c.ogg"]


def test_playlists_of_this_and_of_other_computers_are_read(prepare, library, capsys):
    (library / "lists").mkdir()
    lines = ["#EXTM3U", "../Artist 0/E\u0301te\u0301.ogg", "C:\\Music\\ARTIST 1\\b.ogg", "b.ogg", "absent.ogg"]
    (library / "lists" / "Sunday.m3u8").write_text("\ufeff" + "\r\n".join(lines), "utf-8")
    uri = (library / "unsorted" / "c.ogg").as_uri()
    (library / "Été.M3U").write_bytes(b"Artist 2/\xc9t\xe9.ogg\n" + uri.encode() + b"\n")
    rows = {row["id"]: row for row in prepare(library)}
    assert {id: row["playlists"] for id, row in rows.items() if "playlists" in row} == {
        "Artist 0/Été.ogg": ["Sunday"], "Artist 1/b.ogg": ["Sunday"],
        "Artist 2/Été.ogg": ["Été"], "unsorted/c.ogg": ["Été"],
    }  # fmt: skip
    assert rows["unsorted/c.ogg"]["groups"] == ["playlist: Été"]
    assert "2 entries of playlists" in capsys.readouterr().out, "an absent file, and a name that many files have"


def test_ratings_and_comments_are_read_and_notes_of_programs_are_not(prepare, tmp_path):
    music = tmp_path / "music"
    write_song(music / "a.ogg", artist="A", rating="80", comment="a slow waltz in the rain")
    write_song(music / "b.ogg", artist="A", fmps_rating="0.2", comment="Ripped with a program of mine")
    write_song(music / "c.ogg", artist="A", rating="0", comment="short")
    comments = [
        mutagen.id3.COMM(desc="", lang="eng", text="played at our wedding"),
        mutagen.id3.COMM(desc="iTunNORM", lang="eng", text="loud enough for the radio"),
    ]
    write_mp3(music / "d.mp3", [mutagen.id3.TPE1(text="A"), mutagen.id3.POPM(rating=196), *comments])
    (music / "broken.mp3").write_bytes(b"ID3\x04\x00\x00\x00\x00\x00\x7f nothing")
    rows = {row["id"]: row for row in prepare(music)}
    assert {id: row.get("rating") for id, row in rows.items()} == {
        "a.ogg": 4, "b.ogg": 1, "c.ogg": None, "d.mp3": 4, "broken.mp3": None,
    }  # fmt: skip
    assert {id: row["caption"] for id, row in rows.items() if "caption" in row} == {
        "a.ogg": ["a slow waltz in the rain"], "d.mp3": ["played at our wedding"],
    }  # fmt: skip
    assert {row["split"] for row in rows.values()} == {"train"}, "too few artists to hold any out"


def test_a_folder_that_says_nothing_is_refused_in_one_line(prepare, tmp_path, capsys):
    write_song(tmp_path / "music" / "a.ogg")
    with pytest.raises(SystemExit) as stop:
        prepare(tmp_path / "music")
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1 and "playlist" in error


def test_musiccaps_becomes_phrases_and_frequent_tags(tmp_path, monkeypatch):
    (tmp_path / "source").mkdir()
    lines = ["ytid,start_s,aspect_list,caption,is_audioset_eval"]
    for number in range(31):
        aspects = ["Sad", " slow  tempo"] if number % 3 else ["rare"]
        lines.append(f'y{number},0,"{aspects}","A sad tune with strings, and a flute.",{number >= 30}')
    (tmp_path / "source" / "musiccaps-public.csv").write_text("\n".join(lines))
    script = Path(__file__).parents[2] / "recipes" / "music" / "musiccaps.py"
    monkeypatch.setattr(sys, "argv", [str(script), str(tmp_path / "source"), str(tmp_path / "out")])
    runpy.run_path(str(script), run_name="__main__")
    rows = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert Counter(row["split"] for row in rows) == {"train": 27, "dev": 3, "test": 1}
    tagged = [row for row in rows if "tags" in row]
    assert len(tagged) == 20 and all(row["tags"] == ["sad", "slow tempo"] for row in tagged)
    assert rows[0]["caption"] == ["a sad tune", "strings", "a flute", "A sad tune with strings, and a flute."]
