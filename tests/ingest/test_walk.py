"""File names of any bytes, links, loops, and folders that cannot be read."""

import errno
import os
import shutil
import unicodedata
from types import SimpleNamespace

import numpy as np
import pytest
from scan_stub import DIM, fill, opened, run, state, vector

from jointembed.__main__ import main
from jointembed.errors import UsageError
from jointembed.files import text_to_path
from jointembed.index.index import Index
from jointembed.index.verify import verify
from jointembed.ingest import ScanReport, list_skips, prune

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


@pytest.mark.parametrize(
    "name", ["a.mp4", "a.MKV", "a.m4r", "a.3gp", "a.3g2", "a.mov", "a.dsf", "a.dff", "a.dts", "a.eac3", "a.m4a"]
)
def test_every_container_of_sound_is_scanned(name, root, place):
    (root / name).write_bytes(b"song")
    (root / "cover.jpg").write_bytes(b"song")
    report = run(root, place)[0]
    assert (report.indexed, report.unsupported) == (1, 1)


def test_file_names_may_be_any_bytes(root, place, capsys):
    names = [name.encode() for name in NAMES] + [b"\xe9t\xe9", b"\xff\xfe", b"a\x80", b"\xed\xa0\x80", b"\xc3"]
    names = [name for name in dict.fromkeys(names) if not name.startswith(b".")]
    assert len(names) >= 50
    for at, name in enumerate(names):
        with open(os.path.join(os.fsencode(root), name + b".wav"), "wb") as file:
            file.write(b"song %d" % at)
    with open(os.path.join(os.fsencode(root), b"\xe9\x1b[2J.wav"), "wb") as file:
        file.write(b"BAD")
    report, _ = run(root, place)
    assert report == ScanReport(files=len(names) + 1, indexed=len(names), skipped=1)
    with Index.open(place) as index:
        for at, name in enumerate(names):
            path = name + b".wav"
            id = path.decode("utf-8", "backslashreplace")
            assert index.resolve(id) == id == index.resolve(os.fsdecode(path))
            location = text_to_path(index.row(id)["path"], root)
            assert os.path.exists(location)
            if os.fsdecode(path) != id:  # not UTF-8
                assert os.path.samefile(location, os.path.join(os.fsencode(root), path))
            assert index.similar(id, 1)
            assert index.vectors()[1][index.ids().index(id)].tobytes() == vector(b"song %d" % at).tobytes()
    assert run(root, place)[0].unchanged == len(names)
    (root / "moved").mkdir()
    for name in names:
        os.rename(
            os.path.join(os.fsencode(root), name + b".wav"), os.path.join(os.fsencode(root), b"moved", name + b".wav")
        )
    assert run(root, place) == (ScanReport(files=len(names) + 1, unchanged=len(names), skipped=1, moved=len(names)), 0)
    with Index.open(place) as index:
        assert index.resolve(os.fsdecode(b"moved/\xe9t\xe9.wav")) == "\\xe9t\\xe9.wav"
    verify(place)
    assert main(["skips", str(place)]) == 0
    output = capsys.readouterr().out
    assert "\\xe9\\x1b[2J.wav" in output and "1 skipped: 1 no-audio" in output
    assert main(["skips", str(place), "--json"]) == 0
    capsys.readouterr().out.encode()


def test_name_is_resolved_in_either_form_of_unicode(root, place):
    for at, name in enumerate(["café", "über"]):
        (root / f"{unicodedata.normalize('NFD', name)}.wav").write_bytes(b"%d" % at)
    run(root, place)
    with Index.open(place) as index:
        assert index.resolve("café.wav") == unicodedata.normalize("NFD", "café.wav")
        assert index.row(index.resolve("über"))["title"] == "über"


def test_links_and_loops_are_followed_once(root, place, tmp_path):
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
    report, decoded = run(root, place)
    assert report == ScanReport(files=19, indexed=3, skipped=len(links), duplicate=3, unsupported=1) and decoded == 3
    with Index.open(place) as index:
        assert {os.fsdecode(skip.path) for skip in list_skips(index)} == set(links)
        assert {skip.reason for skip in list_skips(index)} == {"link"}
    assert run(root, place)[0].unchanged == 6
    (root / "slash").unlink()
    report, _ = run(root, place, follow_links=True)
    assert (report.indexed, report.duplicate) == (1, 1)  # far.wav, by two paths
    report, _ = run(root, place)
    assert (report.unchanged, report.missing) == (6, 0)  # what cannot be seen now is not missing


def test_files_of_an_unreadable_folder_are_not_missing(root, place, monkeypatch):
    fill(root, 20)
    run(root, place)
    scandir = os.scandir

    def failing(path):
        if path == os.fsencode(root / "album 2"):
            raise OSError(5, "Input/output error")
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", failing)
        report, _ = run(root, place)
    assert report == ScanReport(files=18, unchanged=17, skipped=1)
    assert run(root, place)[0] == ScanReport(files=20, unchanged=20)


def test_folder_may_be_moved_but_not_be_of_a_table(root, place, tmp_path):
    fill(root, 3)
    run(root, place)
    second = tmp_path / "other"
    root.rename(second)  # with its files, whose times stay
    assert run(second, place) == (ScanReport(files=3, unchanged=3), 0)
    table = tmp_path / "table.index"
    with opened(table) as index:
        index.add([{"id": "a"}], np.eye(DIM, dtype=np.float32)[:1], "audio")
    with pytest.raises(UsageError, match="from a table"):
        run(second, table)


@pytest.mark.parametrize("fault", ["empty", "file", "not mounted", errno.ENOTCONN, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("linked", [False, True])
def test_songs_of_a_disk_that_is_away_are_not_missing(fault, linked, root, place, tmp_path, monkeypatch, capsys):
    fill(root, 10)
    mount = tmp_path / "usb 7" if linked else root / "usb 7"
    (mount / "deep").mkdir(parents=True)
    if linked:
        (root / "usb 7").symlink_to(mount)
    for at in range(5):
        (mount / "deep" / f"{at}.wav").write_bytes(b"song of a disk %d" % at)
    (mount / "deep" / "bad.wav").write_bytes(b"BAD")
    (mount / "deep" / "copy.wav").write_bytes((root / "album 0" / "0.wav").read_bytes())

    def on_disk(call, error=None):
        def answer(path, *args, **options):
            if "usb 7" not in os.fsdecode(path):
                return call(path, *args, **options)
            if error:
                raise OSError(error, os.strerror(error))
            status = call(path, *args, **options)
            return SimpleNamespace(
                **{name: getattr(status, name) for name in dir(status) if name.startswith("st_")} | {"st_dev": 99}
            )

        return answer

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", on_disk(os.stat))
        run(root, place, follow_links=linked)
    before, away = state(place), tmp_path / "away"
    with Index.open(place) as index:
        skips = len(list_skips(index))
    with monkeypatch.context() as patch:
        if isinstance(fault, str):
            mount.rename(away)
            if fault != "not mounted":
                mount.mkdir()
            if fault == "file":
                (mount / "NOT MOUNTED.txt").write_bytes(b"")
        else:
            patch.setattr(os, "scandir", on_disk(os.scandir, fault))
            patch.setattr(os, "stat", on_disk(os.stat, fault))
        for _ in range(2):
            report, _ = run(root, place, follow_links=linked)
    if fault == "not mounted" and not linked:
        assert report.missing == 5, "a folder that is gone with its songs has been deleted"
        return
    assert (report.unchanged, report.skipped, report.missing) == (10, 1, 0)
    with Index.open(place) as index:
        assert prune(index) == [] and len(list_skips(index)) == skips + 1
    assert main(["skips", str(place)]) == 0
    assert ("is away, with 6 files" in capsys.readouterr().out) == (fault in ("empty", "file"))
    if isinstance(fault, str):
        if mount.is_dir():
            shutil.rmtree(mount)
        away.rename(mount)
    report, _ = run(root, place, follow_links=linked)
    assert (report.unchanged, report.skipped, report.missing) == (16, 1, 0) and state(place) == before
