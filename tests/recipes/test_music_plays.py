"""Exports of ListenBrainz, Last.fm and Navidrome become a table of who played which song of a folder how often."""

import contextlib
import json
import runpy
import sqlite3
import sys
from pathlib import Path

import mutagen
import pytest
from sound_files import melody, pack

RECORDING = "b1a9c0e9-d987-4042-ae91-78d6a3267d69"
SCRIPT = Path(__file__).parents[2] / "recipes" / "music" / "plays.py"


@pytest.fixture
def places(tmp_path):
    """A folder of songs and an empty one of exports."""
    sound = pack(melody(0.3), "OGG")
    for name, tags in {
        "A/One/1.ogg": {"artist": ["Ärzte"], "title": ["Lied"], "musicbrainz_trackid": [RECORDING]},
        "A/One/2.ogg": {"artist": ["Ärzte"], "title": ["Zwei"]},
        "B/3.ogg": {"artist": ["The Bees"], "title": ["Hum"]},
        "B/4.ogg": {"artist": ["Bees"], "title": ["Twice"]},
        "C/4.ogg": {"artist": ["Bees"], "title": ["Twice"]},
    }.items():
        path = tmp_path / "music" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sound)
        file = mutagen.File(path)
        file.update(tags)
        file.save()
    (tmp_path / "exports").mkdir()
    return tmp_path / "music", tmp_path / "exports"


@pytest.fixture
def run(places, tmp_path, monkeypatch):
    def run():
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, places), str(tmp_path / "out")])
        runpy.run_path(str(SCRIPT), run_name="__main__")
        rows = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text("utf-8").splitlines()]
        assert all(row["id"] == f"{row['user']}: {row['song']}" for row in rows)
        assert all(Path(row["audio"]) == places[0] / row["song"] for row in rows)
        return {(row["user"], row["song"]): row["plays"] for row in rows}

    return run


def listen(title, artist, **more):
    metadata = {"track_name": title, "artist_name": artist, **more}
    return json.dumps({"listened_at": 1_700_000_000, "track_metadata": metadata})


def write_navidrome(path, recording="mbz_recording_id"):
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript(
            f"""
            CREATE TABLE user (id TEXT, user_name TEXT);
            CREATE TABLE media_file (id TEXT, path TEXT, title TEXT, artist TEXT, {recording} TEXT);
            CREATE TABLE annotation (user_id TEXT, item_id TEXT, item_type TEXT, play_count INTEGER);
            INSERT INTO user VALUES ('u1', 'ann'), ('u2', 'bob');
            INSERT INTO media_file VALUES ('m1', '/srv/music/A/One/2.ogg', 'Other', 'Other', NULL),
                ('m2', 'gone.ogg', 'Hum', 'the bees feat. Wasp', ''), ('m3', 'x.ogg', 'x', 'x', '{RECORDING.upper()}'),
                ('m4', 'C/4.ogg', 'Twice', 'Bees', '');
            INSERT INTO annotation VALUES ('u1', 'm1', 'media_file', 7), ('u1', 'm2', 'media_file', 2),
                ('u2', 'm3', 'media_file', 5), ('u2', 'm1', 'media_file', 0), ('u2', 'm1', 'album', 9),
                ('u2', 'm4', 'media_file', 1);
            """
        )


def test_plays_of_listenbrainz_are_counted_by_recording_and_by_name(run, places, capsys):
    listens = places[1] / "ann" / "listens" / "2024"
    listens.mkdir(parents=True)
    lines = [
        listen("a title", "an artist", mbid_mapping={"recording_mbid": RECORDING.upper()}),
        listen("a title", "an artist", mbid_mapping=None, additional_info={"recording_mbid": RECORDING}),
        listen("HUM", "Bees"),
        listen("Twice", "Bees"),  # either of two
        listen("Nothing", "Nobody"),
    ]
    (listens / "1.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    (listens / "2.jsonl").write_text(listen("Zwei", "Ärzte", additional_info={}) + "\n", "utf-8")
    (places[1] / "ann" / "feedback.jsonl").write_text(json.dumps({"recording_mbid": RECORDING, "score": 1}) + "\n")
    assert run() == {("ann", "A/One/1.ogg"): 2, ("ann", "A/One/2.ogg"): 1, ("ann", "B/3.ogg"): 1}
    assert "2 plays are of songs that are not in the folder, or may be several: Bees - Twice" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text",
    [
        "uts,utc_time,artist,artist_mbid,album,album_mbid,track,track_mbid\r\n"
        '"1","1 Jan 2024","The Bees","","An, album","","Hum",""\r\n"2","","Bees","","","","hum",""\r\n',
        "\ufeffThe Bees,An album,Hum,01 Jan 2024 12:00\nBees,,Hum,\n\n",
    ],
)
def test_scrobbles_of_lastfm_are_counted_with_and_without_a_header(run, places, text):
    (places[1] / "bob.csv").write_text(text, "utf-8", newline="")
    assert run() == {("bob", "B/3.ogg"): 2}


@pytest.mark.parametrize("recording", ["mbz_recording_id", "mbz_track_id"])
def test_database_of_navidrome_is_read_and_left_alone(run, places, recording):
    path = places[1] / "navidrome.db"
    write_navidrome(path, recording)
    path.chmod(0o444)
    before = path.read_bytes()
    assert run() == {
        ("ann", "A/One/2.ogg"): 7, ("ann", "B/3.ogg"): 2, ("bob", "A/One/1.ogg"): 5, ("bob", "C/4.ogg"): 1,
    }  # fmt: skip
    assert path.read_bytes() == before and [file.name for file in places[1].iterdir()] == ["navidrome.db"]


def test_largest_count_of_several_exports_of_a_user_stands(run, places):
    write_navidrome(places[1] / "navidrome.db")
    (places[1] / "ann.csv").write_text("Bees,,Hum,\n" * 3 + "Ärzte,,Zwei,\n", "utf-8")
    plays = run()
    assert plays["ann", "B/3.ogg"] == 3 and plays["ann", "A/One/2.ogg"] == 7


@pytest.mark.parametrize(
    "name, content, named",
    [
        ("ann.jsonl", "{}\nnot json\n", "line 2"),
        ("ann.jsonl", "[]\n" + listen("a", "b", mbid_mapping="x"), "line 2"),
        ("ann.jsonl", "\udcff\n", "line 1"),
        ("ann.csv", "A,B\n", "row 1 has 2 cells"),
        ("ann.csv", "A,B," + "x" * 200_000 + "\n", "not CSV"),
        ("navidrome.db", "not a database, but long enough to look like one" * 20, "Navidrome"),
        ("ann.jsonl", listen("Nothing", "Nobody"), "none of its songs"),
        ("notes.txt", "nothing", "no play"),
    ],
)
def test_wrong_export_is_one_line_that_names_it(run, places, capsys, name, content, named):
    (places[1] / name).write_text(content, "utf-8", "surrogateescape")
    with pytest.raises(SystemExit):
        run()
    error = capsys.readouterr().err
    assert named in error and error.count("error[") == 1 and "Traceback" not in error
