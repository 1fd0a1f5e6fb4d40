"""Kills, faults, a full disk and concurrent processes: nothing that was committed is lost."""

import os
import random
import shutil
import signal
import subprocess
import threading
import time

import numpy as np
import pytest
from faults import scan_with_fault
from scan_stub import DIM, Decoder, Embedder, fill, ids_of, opened, process, run, state, wait_until

from jointembed.errors import DiskFullError
from jointembed.index.index import Index
from jointembed.index.verify import verify
from jointembed.ingest import scan


def test_one_of_twenty_scans_at_once_writes(root, place):
    fill(root, 40)
    winner = process(root, place, 5.0)  # as slow as that, it is at work until it is killed
    wait_until(place.exists)
    losers = [process(root, place) for _ in range(19)]
    for loser in losers:
        _, errors = loser.communicate(timeout=100)
        assert loser.returncode == 2 and f"pid {winner.pid}, since 2" in errors and "scan_stub.py" in errors, errors
    winner.kill()
    winner.communicate()
    assert place.with_name("songs.index.lock").exists()
    last = process(root, place)
    _, errors = last.communicate(timeout=100)
    assert last.returncode == 0, errors
    assert len(ids_of(place)) == 40 and not place.with_name("songs.index.lock").exists()


def scan_under_kills(root, place, kills, rng, longest, slow=0.0):
    """Kill scans at random moments, then complete one; after each kill, all that was committed must be there."""
    committed = 0
    for _ in range(kills):
        victim = process(root, place, slow)
        time.sleep(rng.uniform(0.1, longest))
        victim.send_signal(signal.SIGKILL)
        _, errors = victim.communicate()
        assert victim.returncode in (0, -9), errors
        if place.exists():
            rows = verify(place).rows
            assert rows >= committed, "committed rows are gone"
            committed = rows
    last = process(root, place)
    _, errors = last.communicate(timeout=100)
    assert last.returncode == 0, errors


@pytest.mark.parametrize(
    "files, kills",
    [(100, 8), pytest.param(200, 20, marks=pytest.mark.slow), pytest.param(2000, 500, marks=pytest.mark.slow)],
)
def test_kills_lose_nothing_and_repeat_little(root, place, tmp_path, files, kills):
    fill(root, files)
    whole = tmp_path / "whole.index"
    run(root, whole)
    scan_under_kills(root, place, kills, random.Random(files), 0.7, 0.004)
    assert state(place) == state(whole)
    calls = place.with_name("songs.index.calls").read_text().split()
    assert len(set(calls)) == files and len(calls) <= files + (32 + 5) * kills
    verify(place)


def remove(place):
    for path in place.parent.glob(f"*{place.name}*"):
        path.unlink()


@pytest.mark.parametrize(
    "plan, code, step",
    [
        ("kill", -9, 101),
        pytest.param("kill", -9, 61, marks=pytest.mark.slow),
        pytest.param("eio", 5, 67, marks=pytest.mark.slow),
        ("enospc", 6, 101),
        pytest.param("enospc", 6, 67, marks=pytest.mark.slow),
    ],
)
def test_any_sql_statement_may_fail(root, place, tmp_path, plan, code, step):
    fill(root, 40)
    whole = tmp_path / "whole"
    run(root, whole)
    for nth in range(1, 10_000, step):
        remove(place)
        done, fired = scan_with_fault(plan, nth, "sql", root, place)
        if not fired:
            break
        assert done.returncode == code, done.stderr
        assert code == -9 or (str(place) in done.stderr and "Fix:" in done.stderr)
        if place.exists():
            verify(place)
        run(root, place)
        assert state(place) == state(whole)
    assert done.returncode == 0 and nth > 5 * step


@pytest.mark.parametrize("plan, code, step", [("kill", -9, 1), ("eio", 5, 3), ("enospc", 6, 3), ("short", 0, 1)])
def test_any_file_operation_may_fail(root, place, plan, code, step):
    """The first operations make the index; the later ones write caches, which a search can do without."""
    fill(root, 10)
    codes = []
    for nth in range(1, 60, step):
        remove(place)
        done, fired = scan_with_fault(plan, nth, "files", root, place)
        if not fired:
            break
        codes.append(done.returncode)
        run(root, place)
        assert verify(place).rows == 10
    assert done.returncode == 0 and not fired
    assert codes and codes[0] == code
    assert set(codes) <= ({code} if plan == "kill" else {code, 0})


def test_full_disk_stops_the_scan_and_the_next_one_completes_it(root, place, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(disk)]
    if os.geteuid() or shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
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
        report, decoded = run(root, place)
        assert (report.indexed, report.unchanged, decoded) == (3000 - count, count, 3000 - count)
        verify(place)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_searches_see_whole_commits_while_a_scan_runs(root, place):
    fill(root, 400)
    with opened(place):
        pass
    errors, counts = [], []

    def read():
        try:
            with Index.open(place) as index:
                last = -1
                while not over.is_set():
                    now = index.info.generation
                    if index.fields:
                        ids, vectors = index.vectors()
                        assert len(ids) == len(vectors) and now >= last
                        for hit in index.search(np.ones(DIM), 5) if ids else ():
                            assert hit.row["path"] == hit.id
                        counts.append(len(ids))
                    last = now
        except BaseException as error:
            errors.append(error)

    over = threading.Event()
    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        with opened(place) as index:
            scan(index, root, Decoder(each=lambda path: time.sleep(0.003)), Embedder())
    finally:
        over.set()
        for reader in readers:
            reader.join()
    assert not errors, errors
    assert len(set(counts)) > 3 and set(counts) <= {*range(0, 400, 32), 400}
