"""A disk that fails, disappears or rounds times during a scan: no file is taken for deleted, corrupt or new."""

import errno
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from scan_stub import Decoder, Embedder, Sound, fill, ids_of, opened, run, state, vector

from jointembed.errors import DamagedError
from jointembed.index import playlist
from jointembed.index.index import Index
from jointembed.index.verify import verify
from jointembed.ingest import ScanReport, list_skips, prune, scan


class FailingDecoder(Decoder):
    """A decoder that meets a disk that fails at one file, from then on.

    Args:
        path: the file.
        is_partial: whether the decoder still gets a part of it, which it takes for a truncated file.
        monkeypatch: makes the file unreadable.
        code: the error of the system.
    """

    def __init__(self, path, is_partial, monkeypatch, code):
        super().__init__()
        self.path, self.is_partial, self.monkeypatch, self.code = os.fsencode(path), is_partial, monkeypatch, code

    def decode(self, path):
        if path != self.path:
            return super().decode(path)
        open_file = os.open

        def failing(name, *words, **options):
            if name == self.path:
                raise OSError(self.code, os.strerror(self.code), name)
            return open_file(name, *words, **options)

        self.monkeypatch.setattr(os, "open", failing)
        if self.is_partial:
            return Sound(path, np.frombuffer(b"so", np.uint8).astype(np.float32), partial=True, seconds=9.0)
        return Sound(path, None, "truncated", "only 0.1 s of the 3.0 s can be decoded", "replace it")


@pytest.mark.parametrize("is_partial", [False, True])
@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_file_whose_disk_fails_while_it_is_decoded_is_neither_corrupt_nor_partial(root, place, is_partial, code):
    fill(root, 20)
    with pytest.MonkeyPatch.context() as patch, opened(place) as index:
        report = scan(index, root, FailingDecoder(root / "album 2" / "2.wav", is_partial, patch, code), Embedder())
        assert report == ScanReport(files=20, indexed=19, skipped=1)
        assert [(skip.path, skip.reason, skip.hash) for skip in list_skips(index)] == [
            (b"album 2/2.wav", "unreadable", None)
        ]
        assert os.strerror(code) in list_skips(index)[0].problem
    assert run(root, place) == (ScanReport(files=20, indexed=1, unchanged=19), 1)
    assert state(place)["album 2/2.wav"][0] == vector(b"song 2" * 5).tobytes()


def test_changed_file_whose_disk_fails_keeps_its_row(root, place, monkeypatch):
    fill(root, 9)
    run(root, place)
    before = state(place)
    (root / "album 2" / "2.wav").write_bytes(b"another sound")
    with monkeypatch.context() as patch, opened(place) as index:
        report = scan(index, root, FailingDecoder(root / "album 2" / "2.wav", False, patch, errno.EIO), Embedder())
    assert report == ScanReport(files=9, unchanged=8, skipped=1) and state(place) == before
    assert run(root, place)[0] == ScanReport(files=9, indexed=1, unchanged=8)


def test_folder_that_disappears_during_a_scan_loses_nothing(root, place):
    fill(root, 60)
    run(root, place)
    before, away = state(place), root.with_name("away")
    fill(root, 60, prefix="new ")

    def disappear(path):
        if root.exists() and not away.exists():
            root.rename(away)
            root.mkdir()

    with opened(place) as index:
        report = scan(index, root, Decoder(each=disappear), Embedder())
        assert report.missing == 0 and report.skipped > 0
        with pytest.raises(DamagedError, match="the folder is empty"):
            prune(index, force=True)
    assert {id: state(place)[id] for id in before} == before
    root.rmdir()
    away.rename(root)
    assert run(root, place)[0].missing == 0
    assert len(ids_of(place)) == 120 and verify(place).missing == 0


UNMOUNT = """
import subprocess, sys
from pathlib import Path
from scan_stub import Decoder, Embedder, fill, opened, run, state
from jointembed.errors import DamagedError
from jointembed.ingest import prune, scan

root, place = Path(sys.argv[1]), Path(sys.argv[2])
subprocess.run(["mount", "-t", "tmpfs", "none", root], check=True)
fill(root, 30)
run(root, place)
before = state(place)
fill(root, 30, prefix="new ")
root_of_disk = [root]

def unmount(path):
    if root_of_disk:
        subprocess.run(["umount", "-l", root_of_disk.pop()], check=True)
        (root / "stray.wav").write_bytes(b"a sound that lies below the mount")

for attempt in range(3):
    with opened(place) as index:
        try:
            report = scan(index, root, Decoder(each=unmount), Embedder())
            print("scanned", report.missing)
        except DamagedError as error:
            print(error)
        try:
            print(prune(index, force=True))
        except DamagedError as error:
            print(error)
    assert {id: state(place)[id] for id in before} == before
"""


def can_mount():
    try:
        done = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True)
    except OSError:
        return False
    return done.returncode == 0


@pytest.mark.skipif(not can_mount(), reason="nothing may be mounted here")
def test_disk_that_is_unmounted_during_a_scan_loses_nothing(root, place):
    """Another sound then lies in the folder, so that it does not look empty."""
    done = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", UNMOUNT, str(root), str(place)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    lines = done.stdout.splitlines()
    assert "the folder's disk was unmounted during the scan" in lines[0], done.stdout + done.stderr
    assert all("indexed files are missing on another device than at the last scan" in line for line in lines[2::2])
    assert len(lines) == 6 and all(
        "the folder is on another device than at the last scan" in line for line in lines[1::2]
    ), lines


@pytest.mark.parametrize("shift", [0, 3600, -7200])
def test_times_that_a_file_system_rounds_or_shifts_decode_nothing_again(root, place, shift):
    """FAT stores times in steps of two seconds, and in local time."""
    fill(root, 50)
    (root / "bad.wav").write_bytes(b"BAD")
    run(root, place)
    before = state(place)
    for path in root.rglob("*.wav"):
        seconds = int(path.stat().st_mtime) // 2 * 2 + shift
        os.utime(path, (seconds, seconds))
    assert run(root, place) == (ScanReport(files=51, unchanged=50, skipped=1), 0)
    assert run(root, place) == (ScanReport(files=51, unchanged=50, skipped=1), 0)
    assert state(place) == before


COMPOSED, DECOMPOSED = "Caf\u00e9", "Cafe\u0301"


def test_names_that_differ_in_case_or_in_normal_form_only_are_files_of_their_own(root, place):
    names = ["Song.wav", "song.wav", f"{COMPOSED}.wav", f"{DECOMPOSED}.wav"]
    for name in names:
        (root / name).write_bytes(name.encode())
    if len(os.listdir(root)) < len(names):
        pytest.skip("this file system does not tell these names apart")
    assert run(root, place)[0].indexed == 4
    with Index.open(place) as index:
        for name in names:
            assert index.resolve(name) == name
            assert Path(index.info.locate(index.row(name)["path"], name)).read_bytes() == name.encode()


def test_names_that_change_in_case_or_in_normal_form_are_moves(root, place):
    """As when a share is mounted from another system, or a disk that ignores case is renamed on."""
    for at in range(30):
        (root / f"{COMPOSED} {at}.wav").write_bytes(f"song {at}".encode())
    run(root, place)
    ids = ids_of(place)
    for rename in (lambda name: unicodedata.normalize("NFD", name), str.upper):
        for name in os.listdir(root):
            os.rename(root / name, root / rename(name))
        assert run(root, place) == (ScanReport(files=30, unchanged=30, moved=30), 0)
        assert ids_of(place) == ids


ODD_NAMES = [
    "a:b?.wav", "CON.wav", "back\\slash.wav", "<in> \"quotes\" |*.wav", " spaces .wav", "tab\there.wav", "dots...wav",
    "--option.wav", "~.wav", "per%20cent.wav", "#01.wav", "C:\\Music\\a.wav", "\\\\host\\a.wav",
]  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="names that Windows does not allow")
def test_names_that_other_systems_do_not_allow_lead_to_their_files(root, place, tmp_path):
    for name in ODD_NAMES:
        (root / name).write_bytes(name.encode())
    assert run(root, place)[0].indexed == len(ODD_NAMES)
    with Index.open(place) as index:
        for name in ODD_NAMES:
            assert index.resolve(name) == name
            assert Path(index.info.locate(index.row(name)["path"], name)).read_bytes() == name.encode()
        hits = index.similar(ODD_NAMES[0], len(ODD_NAMES) - 1)
        playlist.write(str(root / "all.m3u8"), index, hits)
    lines = [line for line in (root / "all.m3u8").read_text().splitlines() if not line.startswith("#")]
    assert sorted((root / line).read_bytes().decode() for line in lines) == sorted(ODD_NAMES[1:])
    (root / "all.m3u8").unlink()
    assert run(root, place)[0] == ScanReport(files=len(ODD_NAMES), unchanged=len(ODD_NAMES))


@pytest.mark.skipif(not os.supports_dir_fd, reason="such a path can be made only piece by piece")
def test_path_that_is_too_long_costs_only_itself(root, place):
    fill(root, 5)
    folder = os.open(root, os.O_RDONLY)
    for _ in range(20):  # 20 x 250 characters
        os.mkdir("x" * 250, dir_fd=folder)
        inner = os.open("x" * 250, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
        with os.fdopen(os.open("s.wav", os.O_WRONLY | os.O_CREAT, dir_fd=folder), "wb") as file:
            file.write(os.urandom(9))
    os.close(folder)
    report, _ = run(root, place)
    with Index.open(place) as index:
        skips = list_skips(index)
    assert skips and all(skip.reason == "unreadable" and "too long" in skip.problem for skip in skips)
    assert report.indexed > 5 + 10 and report.skipped == len(skips)
    assert run(root, place)[0] == ScanReport(files=report.files, unchanged=report.indexed, skipped=len(skips))
    longest = max(ids_of(place), key=len)
    assert len(longest) > 3000
    with Index.open(place) as index:
        assert os.path.isfile(index.info.locate(index.row(longest)["path"], longest))
