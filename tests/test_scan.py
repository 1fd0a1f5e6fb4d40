import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stub import DIM, Decoder, Embedder, opened, state, vector

from jointembed.__main__ import main
from jointembed.errors import Damaged, Failure, Full, Usage
from jointembed.find.index import Index
from jointembed.find.scan import Books, hold, prune, scan, skips
from jointembed.find.scan import lock as locks
from jointembed.find.verify import verify

STUB = str(Path(__file__).with_name("stub.py"))


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "music"
    root.mkdir()
    return root


@pytest.fixture
def place(tmp_path):
    return tmp_path / "songs.index"


def fill(root, count, prefix=""):
    for at in range(count):
        folder = root / f"{prefix}album {at % 7}"
        folder.mkdir(exist_ok=True)
        (folder / f"{at}.wav").write_bytes(f"song {prefix}{at}".encode() * 5)


def run(root, place, **more):
    """One scan: its books, and how many files were decoded."""
    decoder, embedder = Decoder(), Embedder()
    with opened(place) as index:
        books = scan(index, root, decoder, embedder, **more)
    assert embedder.most <= 32
    return books, len(decoder.paths)


def process(root, place, *words, **more):
    return subprocess.Popen(
        [sys.executable, STUB, str(root), str(place), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def test_a_folder_becomes_rows(root, place):
    fill(root, 50)
    (root / "cover.jpg").write_bytes(b"x")
    (root / ".hidden.wav").write_bytes(b"x")
    (root / ".trash").mkdir()
    (root / ".trash" / "a.wav").write_bytes(b"x")
    (root / "bad.MP3").write_bytes(b"BAD")
    (root / "nan.wav").write_bytes(b"NAN")
    (root / "tagged.flac").write_bytes(b"TAG" * 100)
    books, decoded = run(root, place)
    assert books == Books(seen=54, indexed=51, skipped=2, unsupported=1) and decoded == 53
    assert str(books).startswith("54 seen = 51 indexed + 0 unchanged + 2 skipped + 0 duplicate + 1 unsupported")
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
        assert [(one.path, one.reason) for one in skips(index)] == [(b"bad.MP3", "no-audio"), (b"nan.wav", "vector")]
        assert index.resolve("A title") == "tagged.flac"
    whole = verify(place)
    assert (whole.rows, whole.files, whole.missing, whole.skips) == (51, 51, 0, {"no-audio": 1, "vector": 1})


def test_a_second_run_only_looks(root, place):
    fill(root, 1000)
    fill(root, 4000, "more ")
    (root / "bad.wav").write_bytes(b"BAD")
    run(root, place)
    before, started = place.read_bytes(), time.perf_counter()
    books, decoded = run(root, place)
    took = time.perf_counter() - started
    assert books == Books(seen=5001, unchanged=5000, skipped=1) and decoded == 0
    assert took < 1 + 5000 * 0.0002, took
    assert len(place.read_bytes()) == len(before)


def test_unchanged_files_are_not_opened(root, place, monkeypatch):
    fill(root, 10)
    (root / "bad.wav").write_bytes(b"BAD")
    run(root, place)
    monkeypatch.setattr("jointembed.find.scan.intake.digest", None)
    assert run(root, place)[0] == Books(seen=11, unchanged=10, skipped=1)


def test_skips_are_tried_again_when_they_change_or_on_demand(root, place):
    bad = root / "bad.wav"
    bad.write_bytes(b"BAD")
    run(root, place)
    os.utime(bad)
    (root / "copy of bad.wav").write_bytes(b"BAD")
    assert run(root, place) == (Books(seen=2, skipped=2), 0)
    assert run(root, place, retry=True) == (Books(seen=2, skipped=2), 1)
    assert run(root, place, decoder="2") == (Books(seen=2, skipped=2), 1)
    assert run(root, place, decoder="2") == (Books(seen=2, skipped=2), 0)
    bad.write_bytes(b"GOOD")
    assert run(root, place, decoder="2") == (Books(seen=2, indexed=1, skipped=1), 1)
    (root / "copy of bad.wav").unlink()
    assert run(root, place, decoder="2") == (Books(seen=1, unchanged=1), 0)
    with Index.open(place) as index:
        assert skips(index) == []


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
    assert run(root, place) == (Books(seen=1000, unchanged=1000, moved=600), 0)
    with Index.open(place) as index:
        assert index.ids() == ids and index.vectors()[1].tobytes() == vectors.tobytes()
        moved = files[0]
        assert index.resolve(f"new/{moved.parent.name} {moved.name}") == str(moved.relative_to(root))
        assert index.row(str(files[500].relative_to(root)))["title"] == "renamed 0"
    whole = verify(place)
    assert (whole.files, whole.missing) == (1000, 0)
    assert run(root, place) == (Books(seen=1000, unchanged=1000), 0)


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
    books, decoded = run(root, place)
    assert decoded == 1 and books.indexed == 1
    content = {path.name: path.read_bytes() for path in root.iterdir()}
    found = {paths[0].decode(): blob for blob, paths, _ in state(place).values()}
    assert found == {name: vector(one).tobytes() for name, one in content.items()}
    assert all(row["path"] == paths[0].decode() for _, paths, row in state(place).values())
    verify(place)


def test_a_changed_file_replaces_its_row(root, place):
    fill(root, 5)
    run(root, place)
    file = root / "album 2" / "2.wav"
    with Index.open(place) as index:
        ids = index.ids()
    file.write_bytes(b"quite another song")
    assert run(root, place) == (Books(seen=5, indexed=1, unchanged=4), 1)
    assert state(place)["album 2/2.wav"][0] == vector(b"quite another song").tobytes()
    file.write_bytes(b"BAD now")
    assert run(root, place) == (Books(seen=5, unchanged=4, skipped=1, missing=1), 1)
    assert run(root, place) == (Books(seen=5, unchanged=4, skipped=1, missing=1), 0)
    file.write_bytes((root / "album 3" / "3.wav").read_bytes())
    assert run(root, place) == (Books(seen=5, unchanged=4, duplicate=1), 0)
    with Index.open(place) as index:
        assert index.ids() == [id for id in ids if id != "album 2/2.wav"]
    verify(place)


def test_copies_share_a_vector(root, place):
    for at in range(100):
        (root / f"{at}.wav").write_bytes(b"one song")
    books, decoded = run(root, place)
    assert books == Books(seen=100, indexed=1, duplicate=99) and decoded == 1
    [(_, paths, _)] = state(place).values()
    assert len(paths) == 100
    assert run(root, place) == (Books(seen=100, unchanged=100), 0)
    with Index.open(place) as index:
        assert len({index.resolve(path.decode()) for path in paths}) == 1
    (root / "1.wav").write_bytes(b"another song")
    assert run(root, place) == (Books(seen=100, indexed=1, unchanged=99), 1)
    assert sorted(len(paths) for _, paths, _ in state(place).values()) == [1, 99]
    verify(place)


def test_a_file_that_changes_meanwhile_is_left_for_the_next_run(root, place):
    fill(root, 20)
    grown = root / "album 3" / "10.wav"

    def write(path):
        if path == os.fsencode(grown):
            grown.write_bytes(b"it grows and grows and grows and grows and grows")

    with opened(place) as index:
        books = scan(index, root, Decoder(each=write), Embedder())
        assert books == Books(seen=20, indexed=19, skipped=1)
        assert [one.reason for one in skips(index)] == ["changing"]
    assert run(root, place) == (Books(seen=20, indexed=1, unchanged=19), 1)
    with Index.open(place) as index:
        assert skips(index) == []


NAMES = [
    *[unicodedata.normalize(form, name) for name in ("é", "über", "ガ", "한글") for form in ("NFC", "NFD")],
    *[
        "שלום",
        "مرحبا",
        "\u202egpj",
        "🎵",
        "👩‍🎤 song",
        "日本語",
        "a\nb",
        "a\tb",
        "\x1b[31mred",
        "-rf",
        "--help",
        "dot.",
        "...",
    ],
    *["a'b", 'a"b', "a`b", "$(x)", "%s", "a;b", "a|b", "<b>", "&amp;", "\\", "*", "?", "[x]", " lead", "trail ", "#"],
    *["a#b", "{}", "null", "NULL", "CON", "%00", "\u200b", "\ufeff", "\u2028", "ß", "İ", "x" * 251, "~", "é" * 125],
]


def test_names_of_any_bytes(root, place, capsys):
    names = [name.encode() for name in NAMES] + [b"\xe9t\xe9", b"\xff\xfe", b"a\x80", b"\xed\xa0\x80", b"\xc3"]
    names = [name for name in dict.fromkeys(names) if not name.startswith(b".")]
    assert len(names) >= 50
    for at, name in enumerate(names):
        with open(os.path.join(os.fsencode(root), name + b".wav"), "wb") as file:
            file.write(b"song %d" % at)
    with open(os.path.join(os.fsencode(root), b"\xe9\x1b[2J.wav"), "wb") as file:
        file.write(b"BAD")
    books, _ = run(root, place)
    assert books == Books(seen=len(names) + 1, indexed=len(names), skipped=1)
    with Index.open(place) as index:
        for at, name in enumerate(names):
            id = os.fsdecode(name + b".wav")
            assert index.resolve(id) == id
            assert index.similar(id, 1)
            assert index.vectors()[1][index.ids().index(id)].tobytes() == vector(b"song %d" % at).tobytes()
    assert run(root, place)[0].unchanged == len(names)
    (root / "moved").mkdir()
    for name in names:
        os.rename(
            os.path.join(os.fsencode(root), name + b".wav"), os.path.join(os.fsencode(root), b"moved", name + b".wav")
        )
    assert run(root, place) == (Books(seen=len(names) + 1, unchanged=len(names), skipped=1, moved=len(names)), 0)
    with Index.open(place) as index:
        assert index.resolve(os.fsdecode(b"moved/\xe9t\xe9.wav")) == os.fsdecode(b"\xe9t\xe9.wav")
    verify(place)
    assert main(["skips", str(place)]) == 0
    shown = capsys.readouterr().out
    assert "\\udce9\\x1b[2J.wav" in shown and "1 skipped: 1 no-audio" in shown
    assert main(["skips", str(place), "--json"]) == 0
    capsys.readouterr().out.encode()


def test_a_name_is_found_in_either_form_of_unicode(root, place):
    for at, name in enumerate(["café", "über"]):
        (root / f"{unicodedata.normalize('NFD', name)}.wav").write_bytes(b"%d" % at)
    run(root, place)
    with Index.open(place) as index:
        assert index.resolve("café.wav") == unicodedata.normalize("NFD", "café.wav")
        assert index.row(index.resolve("über"))["title"] == "über"


def test_links_and_loops(root, place, tmp_path):
    fill(root, 3)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "far.wav").write_bytes(b"far")
    links = {
        "self": "self",
        "self.wav": "self.wav",
        "parent": "..",
        "here": ".",
        "slash": "/",
        "broken.wav": "none.wav",
        "out": "../outside",
        "out.wav": "../outside/far.wav",
        "a": "b",
        "b": "a",
        "album 0/up": "../album 1",
        "album 1/up": "../album 0",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    (root / "in.wav").symlink_to("album 0/0.wav")
    for name in ("hard1.wav", "hard2.wav"):
        os.link(root / "album 1" / "1.wav", root / name)
    os.mkfifo(root / "pipe.wav")
    started = time.perf_counter()
    books, decoded = run(root, place)
    assert time.perf_counter() - started < 5
    assert books == Books(seen=19, indexed=3, skipped=len(links), duplicate=3, unsupported=1) and decoded == 3
    with Index.open(place) as index:
        assert {os.fsdecode(one.path) for one in skips(index)} == set(links)
        assert {one.reason for one in skips(index)} == {"link"}
    assert run(root, place)[0].unchanged == 6
    (root / "slash").unlink()
    books, _ = run(root, place, follow=True)
    assert (books.indexed, books.duplicate) == (1, 1)  # far.wav, by two paths
    books, _ = run(root, place)
    assert (books.unchanged, books.missing) == (6, 0)  # what cannot be seen now is not missing


def test_a_folder_that_cannot_be_read_is_not_missing(root, place, monkeypatch):
    fill(root, 20)
    run(root, place)
    scandir = os.scandir

    def failing(path):
        if path == os.fsencode(root / "album 2"):
            raise OSError(5, "Input/output error")
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", failing)
        books, _ = run(root, place)
    assert books == Books(seen=18, unchanged=17, skipped=1)
    assert run(root, place)[0] == Books(seen=20, unchanged=20)


def ids_of(place):
    with Index.open(place) as index:
        return index.ids()


def test_nothing_is_deleted_because_a_scan_saw_nothing(root, place, monkeypatch, capsys):
    fill(root, 100)
    run(root, place)
    before = state(place)
    away = root.with_name("away")
    root.rename(away)
    for make, fix in ((lambda: None, "mount its disk"), (root.mkdir, "mount the disk")):
        make()
        with pytest.raises(Damaged, match=fix) as failure:
            run(root, place)
        assert failure.value.code == 5 and str(root) in str(failure.value)
        with Index.open(place) as index, pytest.raises(Damaged, match="mount its disk"):
            prune(index, force=True)
        assert state(place) == before
    with monkeypatch.context() as patch:

        def failing(path):
            raise OSError(5, "Input/output error")

        patch.setattr(os, "scandir", failing)
        with pytest.raises(Damaged, match="cannot be read"):
            run(root, place)
    root.rmdir()
    away.rename(root)
    assert run(root, place) == (Books(seen=100, unchanged=100), 0)
    aside = root.with_name("aside")
    aside.mkdir()
    gone = sorted(root.rglob("*.wav"))[:19]
    for at, file in enumerate(gone):
        file.rename(aside / str(at))
    assert run(root, place) == (Books(seen=81, unchanged=81, missing=19), 0)
    assert len(ids_of(place)) == 100 and verify(place).missing == 19
    for at, file in enumerate(gone):
        (aside / str(at)).rename(file)
    assert run(root, place) == (Books(seen=100, unchanged=100), 0)
    assert state(place) == before
    for file in gone:
        file.unlink()
    run(root, place)
    gone[0].write_bytes(b"back again, unseen by a scan")
    assert main(["prune", str(place)]) == 0
    assert "18 rows removed, 82 kept" in capsys.readouterr().out
    gone[0].unlink()
    for file in sorted(root.rglob("*.wav"))[:60]:
        file.unlink()
    run(root, place)
    assert main(["prune", str(place)]) == 2
    assert "more than a fifth" in capsys.readouterr().err
    assert main(["prune", str(place), "--force"]) == 0
    assert len(ids_of(place)) == 21
    verify(place)


def test_another_device_is_not_pruned(root, place):
    fill(root, 10)
    run(root, place)
    (root / "album 1" / "1.wav").unlink()
    run(root, place)
    with Index.open(place) as index:
        with index.store.writing() as db:
            db.execute("UPDATE meta SET value = '1' WHERE key = 'device'")
        with pytest.raises(Damaged, match="another device"):
            prune(index)
        run(root, place)
        assert prune(index) == ["album 1/1.wav"]


def test_an_index_is_of_one_folder(root, place, tmp_path):
    fill(root, 3)
    run(root, place)
    other = tmp_path / "other"
    other.mkdir()
    fill(other, 3)
    with pytest.raises(Usage, match="another folder"):
        run(other, place)
    shutil.rmtree(other)
    root.rename(other)  # with its files, whose times stay
    assert run(other, place) == (Books(seen=3, unchanged=3), 0)
    table = tmp_path / "table.index"
    with opened(table) as index:
        index.add([{"id": "a"}], np.eye(DIM, dtype=np.float32)[:1], "audio")
    with pytest.raises(Usage, match="from a table"):
        run(other, table)


def test_a_second_column_is_embedded_and_keeps_the_rows(root, place):
    fill(root, 5)
    run(root, place)
    assert run(root, place, column="rhythm") == (Books(seen=5, indexed=5), 5)
    assert run(root, place) == (Books(seen=5, unchanged=5), 0)
    assert verify(place).vectors == {"audio": 5, "rhythm": 5} and len(ids_of(place)) == 5


def test_books_that_do_not_balance_are_a_failure(root, place, monkeypatch):
    Books(seen=3, indexed=1, duplicate=2).check()
    fill(root, 3)
    kept = Decoder.one
    monkeypatch.setattr(Decoder, "__call__", lambda self, paths: (kept(self, path) for path in list(paths)[1:]))
    with pytest.raises(Failure, match="out of turn"):
        run(root, place)
    monkeypatch.setattr(Decoder, "__call__", lambda self, paths: iter(()))
    with pytest.raises(Failure, match="stopped before the end"):
        run(root, place)
    with pytest.raises(Failure, match="do not balance"):
        Books(seen=3, indexed=1).check()


CONTENT = st.sampled_from([b"a", b"b", b"c", b"d", b"BAD1", b"BAD2", b"NAN"])
NAME = st.sampled_from(["1.wav", "2.wav", "x/1.wav", "x/3.mp3", "y/1.wav", "y/cover.jpg", "4.flac", "l.wav"])
TREE = st.dictionaries(NAME, CONTENT | st.just(None), max_size=8)


@settings(max_examples=300, deadline=None, database=None)
@given(trees=st.lists(TREE, min_size=2, max_size=3), batch=st.integers(1, 4))
def test_books_balance_and_an_index_is_what_the_folder_holds(trees, batch):
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
        books, _ = run(root, place, batch=batch)
        assert books.seen == len(tree) + 1
        sounds = {name: one for name, one in tree.items() if one and name != "y/cover.jpg"} | {"keep.wav": b"keep"}
        good = {name: vector(one).tobytes() for name, one in sounds.items() if one[:3] not in (b"BAD", b"NAN")}
        with Index.open(place) as index, index.store.reading() as db:
            sql = "SELECT path, blob FROM paths JOIN rows USING(content) JOIN vectors ON row = number"
            found = {path.decode(): blob for path, blob in db.execute(f"{sql} WHERE missing IS NULL")}
            for number, cell in db.execute("SELECT content, json_extract(columns, '$.path') FROM rows").fetchall():
                assert (cell.encode(),) in db.execute("SELECT path FROM paths WHERE content = ?", (number,)).fetchall()
        unseen = {name for name, one in tree.items() if one is None}  # a broken link: what lay there may come back
        assert {name: one for name, one in found.items() if name not in unseen} == good
        verify(place)
    shutil.rmtree(top)


def test_twenty_at_once_and_only_one_writes(root, place):
    fill(root, 40)
    winner = process(root, place, 0.2)
    while not place.exists():
        time.sleep(0.01)
    started = time.monotonic()
    others = [process(root, place) for _ in range(19)]
    for one in others:
        _, said = one.communicate(timeout=30)
        assert one.returncode == 2 and f"pid {winner.pid}, since 2" in said and "stub.py" in said, said
    assert time.monotonic() - started < 19 * 2
    winner.kill()
    winner.communicate()
    assert place.with_name("songs.index.lock").exists()
    last = process(root, place)
    out, said = last.communicate(timeout=30)
    assert last.returncode == 0, said
    assert len(ids_of(place)) == 40 and not place.with_name("songs.index.lock").exists()


def test_a_network_file_system_is_refused(tmp_path, monkeypatch):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "1 0 8:1 / / rw - ext4 /dev/x rw\n"
        f"2 1 0:5 / {tmp_path}/far\\040away rw,noatime shared:1 - nfs4 host:/x rw\n"
        f"3 1 0:6 / {tmp_path}/ssh rw - fuse.sshfs host:/x rw\n"
        f"4 2 0:7 / {tmp_path}/far\\040away/near rw - ext4 /dev/y rw\n"
    )
    monkeypatch.setattr(locks, "_MOUNTS", mounts)
    for name, kind in (("far away", "nfs4"), ("ssh/deep", "fuse.sshfs")):
        with pytest.raises(Usage, match=f"network file system .{kind}.*put the index on a disk"):
            with hold(tmp_path / name / "a.index"):
                pass
    with hold(tmp_path / "far away" / "near" / "a.index"):
        assert (tmp_path / "far away" / "near" / "a.index.lock").exists()
    monkeypatch.setattr(locks, "_MOUNTS", tmp_path / "none")
    with hold(tmp_path / "far away" / "a.index"):
        pass


def killed(root, place, kills, rng, longest, slow=0.0):
    """Kill scans at random moments until one is done; check after each what the promises say."""
    done = 0
    count = 0
    for _ in range(kills):
        one = process(root, place, slow)
        time.sleep(rng.uniform(0.1, longest))
        one.send_signal(signal.SIGKILL)
        _, said = one.communicate()
        assert one.returncode in (0, -9), said
        if place.exists():
            now = verify(place).rows
            assert now >= count, "what was committed is gone"
            count = now
        done += one.returncode == 0
    last = process(root, place)
    _, said = last.communicate(timeout=100)
    assert last.returncode == 0, said
    return done


@pytest.mark.parametrize("files, kills", [(200, 20), pytest.param(2000, 500, marks=pytest.mark.slow)])
def test_kills_lose_nothing_and_repeat_little(root, place, tmp_path, files, kills):
    fill(root, files)
    whole = tmp_path / "whole.index"
    run(root, whole)
    killed(root, place, kills, random.Random(files), 0.7, 0.004)
    assert state(place) == state(whole)
    calls = place.with_name("songs.index.calls").read_text().split()
    assert len(set(calls)) == files and len(calls) <= files + (32 + 5) * kills
    verify(place)


FAULTY = """
import os, sqlite3, sys
plan, when = os.environ["FAULT"].split("@")
count = 0
class Faulty(sqlite3.Connection):
    def execute(self, sql, *more):
        global count
        if not sql.startswith(("SELECT", "PRAGMA")):
            count += 1
            if count == int(when):
                if plan == "kill":
                    os.kill(os.getpid(), 9)
                error = sqlite3.OperationalError("planned")
                error.sqlite_errorcode = {"eio": 10, "enospc": 13}[plan]
                raise error
        return super().execute(sql, *more)
connect = sqlite3.connect
sqlite3.connect = lambda *args, **more: connect(*args, **more, factory=Faulty)
sys.path.insert(0, sys.argv[1])
import stub
from jointembed.errors import Failure
try:
    stub.main(sys.argv[2], sys.argv[3])
except Failure as failure:
    print(failure, file=sys.stderr)
    sys.exit(failure.code)
print("statements", count)
"""


@pytest.mark.parametrize("plan, code", [("kill", -9), ("eio", 5), ("enospc", 6)])
def test_any_statement_may_fail(root, place, tmp_path, plan, code):
    fill(root, 40)
    whole = tmp_path / "whole.index"
    run(root, whole)
    step = {"kill": 31, "eio": 67, "enospc": 67}[plan]
    for when in range(1, 10_000, step):
        for old in tmp_path.glob("songs.index*"):
            old.unlink()
        words = [sys.executable, "-c", FAULTY, str(Path(STUB).parent), str(root), str(place)]
        one = subprocess.run(words, env={**os.environ, "FAULT": f"{plan}@{when}"}, capture_output=True, text=True)
        if one.returncode == 0:
            break
        assert one.returncode == code, one.stderr
        assert code == -9 or str(place) in one.stderr and "Fix:" in one.stderr
        if place.exists():
            verify(place)
        run(root, place)
        assert state(place) == state(whole)
    assert when > 5 * step


@pytest.mark.parametrize("plan, code", [("kill", -9), ("eio", 1), ("enospc", 6), ("short", 1)])
def test_any_operation_on_files_may_fail(root, place, plan, code):
    fill(root, 10)
    for when in range(1, 50):
        for old in place.parent.glob("songs.index*"):
            old.unlink()
        words = [sys.executable, STUB, str(root), str(place)]
        one = subprocess.run(
            words, env={**os.environ, "JOINTEMBED_FAULT": f"{plan}@{when}"}, capture_output=True, text=True
        )
        if one.returncode == 0:
            break
        run(root, place)
        assert verify(place).rows == 10
    assert when < 50


def test_a_full_disk_stops_the_scan_and_the_next_one_goes_on(root, place, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(disk)]
    if os.geteuid() or shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk cannot be had without root")
    try:
        fill(root, 3000)
        place = disk / "songs.index"
        with pytest.raises(Full, match="no space") as failure:
            run(root, place)
        assert failure.value.code == 6 and str(place) in str(failure.value)
        count = verify(place).rows
        assert 100 < count < 3000
        with Index.open(place) as index:
            assert len(index.similar(index.ids()[0], 5)) == 5
        subprocess.run(["mount", "-o", "remount,size=20M", str(disk)], check=True)
        books, decoded = run(root, place)
        assert (books.indexed, books.unchanged, decoded) == (3000 - count, count, 3000 - count)
        verify(place)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_searches_see_whole_commits_while_a_scan_runs(root, place):
    fill(root, 400)
    with opened(place):
        pass
    faults, seen = [], []

    def read():
        try:
            with Index.open(place) as index:
                last = -1
                while not over.is_set():
                    now = index.store.meta()["generation"]
                    if index.columns:
                        ids, vectors = index.vectors()
                        assert len(ids) == len(vectors) and now >= last
                        for hit in index.search(np.ones(DIM), 5) if ids else ():
                            assert hit.row["path"] == hit.id
                        seen.append(len(ids))
                    last = now
        except BaseException as fault:
            faults.append(fault)

    over = threading.Event()
    readers = [threading.Thread(target=read) for _ in range(2)]
    for one in readers:
        one.start()
    try:
        with opened(place) as index:
            scan(index, root, Decoder(each=lambda path: time.sleep(0.003)), Embedder())
    finally:
        over.set()
        for one in readers:
            one.join()
    assert not faults, faults
    assert len(set(seen)) > 3 and set(seen) <= {*range(0, 400, 32), 400}


def test_the_time_of_a_commit_and_what_is_held_are_bounded(root, place):
    fill(root, 10)
    embedder, commits = Embedder(), []
    with opened(place) as index:
        scan(index, root, Decoder(ahead=0), embedder, seconds=0.0, progress=lambda books: commits.append(books.indexed))
    assert embedder.most == 1 and commits[:10] == list(range(1, 11))


def test_the_search_finds_what_is_indexed_while_the_rest_is_decoded(root, place):
    fill(root, 64)
    with opened(place) as index:
        counts = []
        scan(index, root, Decoder(), Embedder(), progress=lambda books: counts.append(len(Index.open(place))))
    assert counts[:2] == [32, 64]
