"""Kills, faults, a full disk and others at work: nothing that was committed is lost."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from scan_stub import DIM, STUB, Decoder, Embedder, fill, ids_of, opened, process, run, state

from jointembed.errors import DiskFullError, UsageError
from jointembed.index.index import Index
from jointembed.index.verify import verify
from jointembed.ingest import hold, scan
from jointembed.ingest import lock as locks


def test_twenty_at_once_and_only_one_writes(root, place):
    fill(root, 40)
    winner = process(root, place, 0.2)
    while not place.exists():
        time.sleep(0.01)
    started = time.monotonic()
    others = [process(root, place) for _ in range(19)]
    for one in others:
        _, said = one.communicate(timeout=30)
        assert one.returncode == 2 and f"pid {winner.pid}, since 2" in said and "scan_stub.py" in said, said
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
        with pytest.raises(UsageError, match=f"network file system .{kind}.*put the index on a disk"):
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
import scan_stub
from jointembed.errors import UserError
try:
    scan_stub.main(sys.argv[2], sys.argv[3])
except UserError as failure:
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
        with pytest.raises(DiskFullError, match="no space") as failure:
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
                    now = index.meta()["generation"]
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
