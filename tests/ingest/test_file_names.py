"""Names of any bytes, links and folders: where files lie, and what is there though it was not seen."""

import os
import shutil
import time
import unicodedata

import numpy as np
import pytest
from scan_stub import DIM, fill, ids_of, opened, run, state, vector

from jointembed.__main__ import main
from jointembed.errors import DamagedError, UsageError
from jointembed.index.index import Index
from jointembed.index.verify import verify
from jointembed.ingest import ScanReport, prune, skips

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
    assert books == ScanReport(seen=len(names) + 1, indexed=len(names), skipped=1)
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
    assert run(root, place) == (ScanReport(seen=len(names) + 1, unchanged=len(names), skipped=1, moved=len(names)), 0)
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
    assert books == ScanReport(seen=19, indexed=3, skipped=len(links), duplicate=3, unsupported=1) and decoded == 3
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
    assert books == ScanReport(seen=18, unchanged=17, skipped=1)
    assert run(root, place)[0] == ScanReport(seen=20, unchanged=20)


def test_nothing_is_deleted_because_a_scan_saw_nothing(root, place, monkeypatch, capsys):
    fill(root, 100)
    run(root, place)
    before = state(place)
    away = root.with_name("away")
    root.rename(away)
    for make, fix in ((lambda: None, "mount its disk"), (root.mkdir, "mount the disk")):
        make()
        with pytest.raises(DamagedError, match=fix) as failure:
            run(root, place)
        assert failure.value.code == 5 and str(root) in str(failure.value)
        with Index.open(place) as index, pytest.raises(DamagedError, match="mount its disk"):
            prune(index, force=True)
        assert state(place) == before
    with monkeypatch.context() as patch:

        def failing(path):
            raise OSError(5, "Input/output error")

        patch.setattr(os, "scandir", failing)
        with pytest.raises(DamagedError, match="cannot be read"):
            run(root, place)
    root.rmdir()
    away.rename(root)
    assert run(root, place) == (ScanReport(seen=100, unchanged=100), 0)
    aside = root.with_name("aside")
    aside.mkdir()
    gone = sorted(root.rglob("*.wav"))[:19]
    for at, file in enumerate(gone):
        file.rename(aside / str(at))
    assert run(root, place) == (ScanReport(seen=81, unchanged=81, missing=19), 0)
    assert len(ids_of(place)) == 100 and verify(place).missing == 19
    for at, file in enumerate(gone):
        (aside / str(at)).rename(file)
    assert run(root, place) == (ScanReport(seen=100, unchanged=100), 0)
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
        with index.writing() as db:
            db.execute("UPDATE meta SET value = '1' WHERE key = 'device'")
        with pytest.raises(DamagedError, match="another device"):
            prune(index)
        run(root, place)
        assert prune(index) == ["album 1/1.wav"]


def test_an_index_is_of_one_folder(root, place, tmp_path):
    fill(root, 3)
    run(root, place)
    other = tmp_path / "other"
    other.mkdir()
    fill(other, 3)
    with pytest.raises(UsageError, match="another folder"):
        run(other, place)
    shutil.rmtree(other)
    root.rename(other)  # with its files, whose times stay
    assert run(other, place) == (ScanReport(seen=3, unchanged=3), 0)
    table = tmp_path / "table.index"
    with opened(table) as index:
        index.add([{"id": "a"}], np.eye(DIM, dtype=np.float32)[:1], "audio")
    with pytest.raises(UsageError, match="from a table"):
        run(other, table)
