"""A folder becomes rows: new, moved, changed and corrupt files, and counts that add up."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scan_stub import DIM, Decoder, Embedder, Sound, fill, ids_of, opened, run, state, vector

from jointembed.errors import UserError
from jointembed.index import playlist
from jointembed.index.backends.base import Root
from jointembed.index.index import Index
from jointembed.index.verify import verify
from jointembed.ingest import ScanReport, list_skips, prune, scan
from jointembed.ingest.walk import Walk


def test_folder_becomes_rows(root, place):
    fill(root, 50)
    (root / "cover.jpg").write_bytes(b"x")
    (root / ".hidden.wav").write_bytes(b"x")
    (root / ".trash").mkdir()
    (root / ".trash" / "a.wav").write_bytes(b"x")
    (root / "bad.MP3").write_bytes(b"BAD")
    (root / "nan.wav").write_bytes(b"NAN")
    (root / "tagged.flac").write_bytes(b"TAG" * 100)
    report, decoded = run(root, place)
    assert report == ScanReport(files=54, indexed=51, skipped=2, unsupported=1) and decoded == 53
    assert str(report).startswith("54 files = 51 indexed + 0 unchanged + 2 skipped + 0 duplicate + 1 unsupported")
    with Index.open(place) as index:
        assert index.row("album 3/3.wav") == {
            "id": "album 3/3.wav",
            "title": "3",
            "path": "album 3/3.wav",
            "seconds": 0.3,
        }
        assert index.row("tagged.flac") == {
            "id": "tagged.flac",
            "title": "A title",
            "genre": "waltz",
            "path": "tagged.flac",
            "seconds": 3.0,
        }
        ids, vectors = index.vectors()
        assert vectors[ids.index("album 3/3.wav")].tobytes() == vector(b"song 3" * 5).tobytes()
        assert [(skip.path, skip.reason) for skip in list_skips(index)] == [
            (b"bad.MP3", "no-audio"),
            (b"nan.wav", "vector"),
        ]
        assert index.resolve("A title") == "tagged.flac"
    whole = verify(place)
    assert (whole.rows, whole.files, whole.missing, whole.skips) == (51, 51, 0, {"no-audio": 1, "vector": 1})


def test_unchanged_files_are_not_read(root, place):
    fill(root, 1000)
    (root / "bad.wav").write_bytes(b"BAD")
    run(root, place)
    size = place.stat().st_size
    for path in root.rglob("*.wav"):  # other bytes behind the same size and time would show
        status = path.stat()
        path.write_bytes(b"x" * status.st_size)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert run(root, place) == (ScanReport(files=1001, unchanged=1000, skipped=1), 0)
    assert place.stat().st_size == size


def test_skips_are_tried_again_when_they_change_or_on_demand(root, place):
    bad = root / "bad.wav"
    bad.write_bytes(b"BAD")
    run(root, place)
    os.utime(bad)
    (root / "copy of bad.wav").write_bytes(b"BAD")
    assert run(root, place) == (ScanReport(files=2, skipped=2), 0)
    assert run(root, place, retry=True) == (ScanReport(files=2, skipped=2), 1)
    assert run(root, place, decoder_version="2") == (ScanReport(files=2, skipped=2), 1)
    assert run(root, place, decoder_version="2") == (ScanReport(files=2, skipped=2), 0)
    bad.write_bytes(b"GOOD")
    assert run(root, place, decoder_version="2") == (ScanReport(files=2, indexed=1, skipped=1), 1)
    (root / "copy of bad.wav").unlink()
    assert run(root, place, decoder_version="2") == (ScanReport(files=1, unchanged=1), 0)
    with Index.open(place) as index:
        assert list_skips(index) == []


def test_moves_and_renames_keep_their_rows_and_decode_nothing(root, place):
    fill(root, 1000)
    run(root, place)
    with Index.open(place) as index:
        ids, vectors = index.vectors()
    (root / "new").mkdir()
    files = sorted(root.rglob("*.wav"))
    for file in files[:500]:
        file.rename(root / "new" / f"{file.parent.name} {file.name}")
    for at, file in enumerate(files[500:600]):
        file.rename(file.with_name(f"renamed {at}.wav"))
    assert run(root, place) == (ScanReport(files=1000, unchanged=1000, moved=600), 0)
    with Index.open(place) as index:
        assert index.ids() == ids and index.vectors()[1].tobytes() == vectors.tobytes()
        moved = files[0]
        assert index.resolve(f"new/{moved.parent.name} {moved.name}") == str(moved.relative_to(root))
        assert index.row(str(files[500].relative_to(root)))["title"] == "renamed 0"
    whole = verify(place)
    assert (whole.files, whole.missing) == (1000, 0)
    assert run(root, place) == (ScanReport(files=1000, unchanged=1000), 0)


def test_swaps_chains_and_new_files_in_old_places(root, place):
    for name in "abcd":
        (root / f"{name}.wav").write_bytes(name.encode() * 20)
        os.utime(root / f"{name}.wav", ns=(10**18, 10**18))  # all of one size and time
    run(root, place)
    (root / "a.wav").rename(root / "x")
    (root / "b.wav").rename(root / "a.wav")
    (root / "x").rename(root / "b.wav")
    (root / "c.wav").rename(root / "d2.wav")
    (root / "d.wav").rename(root / "c.wav")
    (root / "d.wav").write_bytes(b"new")
    report, decoded = run(root, place)
    assert decoded == 1 and report.indexed == 1
    content = {path.name: path.read_bytes() for path in root.iterdir()}
    blobs = {paths[0].decode(): blob for blob, paths, _ in state(place).values()}
    assert blobs == {name: vector(sound).tobytes() for name, sound in content.items()}
    assert all(row["path"] == paths[0].decode() for _, paths, row in state(place).values())
    verify(place)


def test_changed_file_replaces_its_row(root, place):
    fill(root, 5)
    run(root, place)
    file = root / "album 2" / "2.wav"
    with Index.open(place) as index:
        ids = index.ids()
    file.write_bytes(b"quite another song")
    assert run(root, place) == (ScanReport(files=5, indexed=1, unchanged=4), 1)
    assert state(place)["album 2/2.wav"][0] == vector(b"quite another song").tobytes()
    file.write_bytes(b"BAD now")
    assert run(root, place) == (ScanReport(files=5, unchanged=4, skipped=1, missing=1), 1)
    assert run(root, place) == (ScanReport(files=5, unchanged=4, skipped=1, missing=1), 0)
    file.write_bytes((root / "album 3" / "3.wav").read_bytes())
    assert run(root, place) == (ScanReport(files=5, unchanged=4, duplicate=1), 0)
    with Index.open(place) as index:
        assert index.ids() == [id for id in ids if id != "album 2/2.wav"]
    verify(place)


def test_copies_share_a_vector(root, place):
    for at in range(100):
        (root / f"{at}.wav").write_bytes(b"one song")
    report, decoded = run(root, place)
    assert report == ScanReport(files=100, indexed=1, duplicate=99) and decoded == 1
    [(_, paths, _)] = state(place).values()
    assert len(paths) == 100
    assert run(root, place) == (ScanReport(files=100, unchanged=100), 0)
    with Index.open(place) as index:
        assert len({index.resolve(path.decode()) for path in paths}) == 1
    (root / "1.wav").write_bytes(b"another song")
    assert run(root, place) == (ScanReport(files=100, indexed=1, unchanged=99), 1)
    assert sorted(len(paths) for _, paths, _ in state(place).values()) == [1, 99]
    verify(place)


class TaggedDecoder(Decoder):
    """The first line of a file is its tags as JSON, the rest the sound."""

    def decode(self, path):
        tags, _, sound = Path(os.fsdecode(path)).read_bytes().partition(b"\n")
        return Sound(path, np.frombuffer(sound, np.uint8).astype(np.float32), seconds=1.0, tags=json.loads(tags))


def test_retagging_updates_the_tags_and_keeps_clusters_and_cells_of_the_user(root, place):
    def write(sound, **tags):
        (root / "a.wav").write_bytes(json.dumps(tags).encode() + b"\n" + sound)
        with opened(place) as index:
            scan(index, root, TaggedDecoder(), Embedder())
            return {name: cell for name, cell in index.row("a.wav").items() if name not in ("id", "path", "seconds")}

    assert write(b"x", genre="Rock", year="1999") == {"title": "a", "genre": "Rock", "year": 1999}
    with Index.open(place) as index:
        index.add_field("mood", DIM, "cosine")
        index.add([{**index.row("a.wav")}], index.vectors()[1], "mood")
        index.write_clusters("group", {"a.wav": "loud"}, ["loud"])
        index.update([{"id": "a.wav", "stars": 5, "genre": "Rock!", "artist": "Me"}])
        assert index.count("year >= 1990") == 1
    own = {"group": "loud", "stars": 5, "artist": "Me"}
    assert write(b"x", title="A", genre="Rock", album="B") == {"title": "A", "genre": "Rock!", "album": "B", **own}
    assert write(b"x", title="A", genre="Polka", artist="You") == {
        "title": "A",
        "genre": "Polka",
        **own,
        "artist": "You",
    }
    assert verify(place).vectors == {"audio": 1, "mood": 1}
    assert write(b"y", title="A") == {"title": "A", "stars": 5}  # another sound: what its vector gave is gone
    assert verify(place).vectors == {"audio": 1, "mood": 0}


def test_row_names_the_original_and_not_its_copy_or_link(root, place):
    for name, time in {"b/song.wav": 1, "a/song.wav": 2, "b/song (1).wav": 1, "b/song copy.wav": 1, "c.wav": 2}.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"another" if name == "c.wav" else b"song")
        os.utime(root / name, (time, time))
    (root / "a link.wav").symlink_to("b/song.wav")
    (root / "a link of c.wav").symlink_to("c.wav")
    run(root, place)
    with Index.open(place) as index:
        assert sorted(row["path"] for _, _, row in state(place).values()) == ["b/song.wav", "c.wav"]
        assert index.row(index.resolve("a link.wav"))["title"] == "song" and "c.wav" in index.ids()
        assert [hit.row["path"] for hit in index.similar(index.resolve("b/song copy.wav"), 5)] == ["c.wav"]
    (root / "b" / "song.wav").unlink()
    (root / "a link.wav").unlink()
    run(root, place)
    assert sorted(row["path"] for _, _, row in state(place).values()) == ["b/song (1).wav", "c.wav"]


def test_cells_that_a_path_gave_follow_the_file(root, place):
    album = root / "Nina Simone" / "Pastel Blues (1965)"
    album.mkdir(parents=True)
    for name in ("01 Be My Husband.wav", "02 Sinnerman.wav"):
        (album / name).write_bytes(name.encode())
    run(root, place)
    id = "Nina Simone/Pastel Blues (1965)/02 Sinnerman.wav"
    expected = {"title": "Sinnerman", "artist": "Nina Simone", "album": "Pastel Blues", "year": 1965, "track": 2}
    with Index.open(place) as index:
        assert index.row(id) == {"id": id, **expected, "path": id, "seconds": 0.16}
        assert index.columns == ["title", "artist", "album", "year", "track", "path", "seconds"]
        index.update([{"id": id, "album": "My own name"}])
    album.rename(root / "Unsorted")
    run(root, place)
    with Index.open(place) as index:
        row = {"id": id, "title": "Sinnerman", "album": "My own name", "track": 2, "seconds": 0.16}
        assert index.row(id) == {**row, "path": "Unsorted/02 Sinnerman.wav"}


SHEET = """PERFORMER "Nina Simone"
TITLE "Pastel Blues"
FILE "album.wav" WAVE
TRACK 01 AUDIO
TITLE "Be My Husband"
INDEX 01 00:00:00
TRACK 02 AUDIO
TITLE "Sinnerman"
INDEX 01 00:02:00
"""


@pytest.mark.parametrize("name", ["/home/me/Music/album.wav", "D:\\\\Music\\\\Pastel Blues\\\\album.wav"])
def test_cue_sheet_with_an_absolute_path_is_of_the_file_beside_it(root, name):
    (root / "album.wav").write_bytes(b"abcde")
    (root / "album.cue").write_text(SHEET.replace("album.wav", name))
    walk = Walk(Root(str(root)))
    assert [entry.path for entry in walk if entry] == [b"album.wav#01", b"album.wav#02"]


def test_cue_sheet_of_two_sides_makes_a_row_of_each_track_of_both(root):
    for name in ("a.wav", "b.wav", "c.wav"):
        (root / name).write_bytes(b"abcde")
    side = SHEET.replace("TRACK 01", "TRACK 03").replace("TRACK 02", "TRACK 04").replace("album.wav", "b.wav")
    single = 'FILE "c.wav" WAVE\nTRACK 05 AUDIO\nINDEX 01 00:00:00\n'
    (root / "album.cue").write_text(SHEET.replace("album.wav", "a.wav") + side.partition('Blues"\n')[2] + single)
    paths = sorted(entry.path for entry in Walk(Root(str(root))) if entry)
    assert paths == [b"a.wav#01", b"a.wav#02", b"b.wav#03", b"b.wav#04", b"c.wav"]


class SegmentDecoder(Decoder):
    """A byte is a second."""

    def decode(self, source):
        if isinstance(source, bytes):
            return super().decode(source)
        self.paths.append(source)
        end = None if source.end is None else round(source.end)
        data = Path(os.fsdecode(source.path)).read_bytes()[round(source.start) : end]
        return Sound(source, np.frombuffer(data, np.uint8).astype(np.float32), seconds=float(len(data)))


def test_cue_sheet_makes_a_row_of_each_track(root, place):
    def scan_again(**more):
        decoder = SegmentDecoder()
        with opened(place) as index:
            return scan(index, root, decoder, Embedder(), **more), len(decoder.paths)

    (root / "album.flac").write_bytes(b"abcdef")
    sheet = root / "album.cue"
    sheet.write_text(SHEET)
    (root / "broken.cue").write_text("FILE")
    assert scan_again() == (ScanReport(files=4, indexed=2, skipped=1, unsupported=1), 2)
    track = {"artist": "Nina Simone", "album": "Pastel Blues", "path": "album.flac"}
    with Index.open(place) as index:
        assert index.row("album.flac#01") == {
            "id": "album.flac#01", "title": "Be My Husband", "track": 1, "start": 0.0, "seconds": 2.0, **track
        }  # fmt: skip
        assert index.row(index.resolve("Sinnerman")) == {
            "id": "album.flac#02", "title": "Sinnerman", "track": 2, "start": 2.0, "seconds": 4.0, **track
        }  # fmt: skip
        assert index.vectors()[1][1].tobytes() == vector(b"cdef").tobytes()
        assert [(skip.path, skip.reason) for skip in list_skips(index)] == [(b"broken.cue", "cue")]
        playlist.write(str(place.with_name("a.m3u8")), index, index.similar("album.flac#01", 1))
        lines = place.with_name("a.m3u8").read_text().splitlines()
        assert lines[2:] == ["#EXTVLCOPT:start-time=2.000", "#EXTVLCOPT:stop-time=6.000", "music/album.flac"]
    assert scan_again() == (ScanReport(files=4, unchanged=2, skipped=1, unsupported=1), 0)
    sheet.write_text(SHEET.replace("Sinnerman", "Sinner man"))
    assert scan_again()[1] == 1
    with Index.open(place) as index:
        assert index.row("album.flac#02")["title"] == "Sinner man"
    sheet.unlink()
    assert scan_again() == (ScanReport(files=2, indexed=1, skipped=1, missing=2), 1)
    assert ids_of(place) == ["album.flac#01", "album.flac#02", "album.flac"]
    with Index.open(place) as index:
        assert prune(index, force=True) == ["album.flac#01", "album.flac#02"]
    sheet.write_text(SHEET)
    assert scan_again()[0] == ScanReport(files=4, indexed=2, skipped=1, unsupported=1, missing=1)
    with Index.open(place) as index:
        assert prune(index, force=True) == ["album.flac"]
    verify(place)


def test_file_that_changes_during_the_scan_is_left_for_the_next(root, place):
    fill(root, 20)
    grown = root / "album 3" / "10.wav"

    def write(path):
        if path == os.fsencode(grown):
            grown.write_bytes(b"it grows and grows and grows and grows and grows")

    with opened(place) as index:
        report = scan(index, root, Decoder(each=write), Embedder())
        assert report == ScanReport(files=20, indexed=19, skipped=1)
        assert [skip.reason for skip in list_skips(index)] == ["changing"]
    assert run(root, place) == (ScanReport(files=20, indexed=1, unchanged=19), 1)
    with Index.open(place) as index:
        assert list_skips(index) == []


def test_second_field_is_embedded_and_keeps_the_rows(root, place):
    fill(root, 5)
    run(root, place)
    assert run(root, place, field="rhythm") == (ScanReport(files=5, indexed=5), 5)
    assert run(root, place) == (ScanReport(files=5, unchanged=5), 0)
    assert verify(place).vectors == {"audio": 5, "rhythm": 5} and len(ids_of(place)) == 5


def test_cells_that_a_vector_gives_stay_when_another_field_is_embedded(root, place):
    fill(root, 3)
    sign = {"derive": lambda vector: {"tags": ["up", "loud"] if vector[0] > 0 else ["down"], "title": "no"}}
    run(root, place, **sign)
    with Index.open(place) as index:
        tags = {id: ["up", "loud"] if vector[0] > 0 else ["down"] for id, vector in zip(*index.vectors(), strict=True)}
        assert {id: index.row(id)["tags"] for id in index.ids()} == tags
        assert all(index.row(id)["title"] != "no" for id in tags), "the file itself says it better"
        assert index.count("tags has 'loud'") == sum(len(tag) == 2 for tag in tags.values())
    run(root, place, field="rhythm")
    with Index.open(place) as index:
        assert {id: index.row(id)["tags"] for id in index.ids()} == tags
    (root / "album 0" / "0.wav").write_bytes(b"another song")
    run(root, place, derive=lambda vector: {"tags": []})
    with Index.open(place) as index:
        assert index.row("album 0/0.wav")["tags"] == [] and index.row("album 1/1.wav")["tags"] == tags["album 1/1.wav"]


def test_counts_that_do_not_add_up_are_an_error(root, place, monkeypatch):
    ScanReport(files=3, indexed=1, duplicate=2).check()
    fill(root, 3)
    decode = Decoder.decode
    monkeypatch.setattr(Decoder, "__call__", lambda self, paths: (decode(self, path) for path in list(paths)[1:]))
    with pytest.raises(UserError, match="out of order"):
        run(root, place)
    monkeypatch.setattr(Decoder, "__call__", lambda self, paths: iter(()))
    with pytest.raises(UserError, match="stopped before the end"):
        run(root, place)
    with pytest.raises(UserError, match="do not add up"):
        ScanReport(files=3, indexed=1).check()


CONTENT = st.sampled_from([b"a", b"b", b"c", b"d", b"BAD1", b"BAD2", b"NAN"])
NAME = st.sampled_from(["1.wav", "2.wav", "x/1.wav", "x/3.mp3", "y/1.wav", "y/cover.jpg", "4.flac", "l.wav"])
TREE = st.dictionaries(NAME, CONTENT | st.just(None), max_size=8)


@settings(max_examples=80, deadline=None, database=None)
@given(trees=st.lists(TREE, min_size=2, max_size=3), batch=st.integers(1, 4))
def test_index_mirrors_the_folder_and_counts_add_up(trees, batch):
    fast = "/dev/shm" if os.path.isdir("/dev/shm") else None  # no disk is waited for
    top = Path(tempfile.mkdtemp(dir=fast))
    root, place = top / "r", top / "i"
    for tree in trees:
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        (root / "keep.wav").write_bytes(b"keep")
        for name, content in tree.items():
            (root / name).parent.mkdir(exist_ok=True)
            if content is None:
                (root / name).symlink_to("nowhere")
            else:
                (root / name).write_bytes(content)
                stamp = 10**18 + int.from_bytes(content, "big")  # the same content has the same time
                os.utime(root / name, ns=(stamp, stamp))
        report, _ = run(root, place, batch=batch)
        assert report.files == len(tree) + 1
        sounds = {"keep.wav": b"keep"} | {name: data for name, data in tree.items() if data and name != "y/cover.jpg"}
        good = {name: vector(data).tobytes() for name, data in sounds.items() if data[:3] not in (b"BAD", b"NAN")}
        with Index.open(place) as index, index.backend.read() as view:
            db = view.db
            sql = "SELECT path, blob FROM paths JOIN rows USING(content) JOIN vectors ON row = number"
            blobs = {path.decode(): blob for path, blob in db.execute(f"{sql} WHERE missing IS NULL")}
            for number, cell in db.execute("SELECT content, json_extract(columns, '$.path') FROM rows").fetchall():
                assert (cell.encode(),) in db.execute("SELECT path FROM paths WHERE content = ?", (number,)).fetchall()
        broken_links = {name for name, data in tree.items() if data is None}  # a file there may come back
        assert {name: blob for name, blob in blobs.items() if name not in broken_links} == good
        verify(place)
    shutil.rmtree(top)


def test_every_vector_is_committed_at_once_if_no_time_may_pass(root, place):
    fill(root, 10)
    commits = []
    with opened(place) as index:
        scan(
            index,
            root,
            Decoder(ahead=0),
            Embedder(ahead=0),
            seconds=0.0,
            progress=lambda report: commits.append(report.indexed),
        )
    assert commits[:10] == list(range(1, 11))


def test_search_finds_committed_rows_during_a_scan(root, place):
    fill(root, 64)
    with opened(place) as index:
        counts = []
        scan(index, root, Decoder(), Embedder(), progress=lambda report: counts.append(len(Index.open(place))))
    assert counts[:2] == [32, 64]
