"""Rows whose files are gone are removed on request, but never because a disk is not mounted."""

import os
from dataclasses import replace

import pytest
from scan_stub import fill, ids_of, run, state

from jointembed.__main__ import main
from jointembed.errors import DamagedError
from jointembed.index.index import Index
from jointembed.index.verify import verify
from jointembed.ingest import ScanReport, prune


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
    assert run(root, place) == (ScanReport(files=100, unchanged=100), 0)
    aside = root.with_name("aside")
    aside.mkdir()
    removed = sorted(root.rglob("*.wav"))[:19]
    for at, file in enumerate(removed):
        file.rename(aside / str(at))
    assert run(root, place) == (ScanReport(files=81, unchanged=81, missing=19), 0)
    assert len(ids_of(place)) == 100 and verify(place).missing == 19
    for at, file in enumerate(removed):
        (aside / str(at)).rename(file)
    assert run(root, place) == (ScanReport(files=100, unchanged=100), 0)
    assert state(place) == before
    for file in removed:
        file.unlink()
    run(root, place)
    removed[0].write_bytes(b"back again, unseen by a scan")
    assert main(["prune", str(place)]) == 0
    assert "18 rows removed, 82 kept" in capsys.readouterr().out
    removed[0].unlink()
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
        with index.backend.write() as transaction:
            transaction.info = transaction.info.with_root(replace(transaction.info.roots[0], device="1"))
        with pytest.raises(DamagedError, match="another device"):
            prune(index)
        run(root, place)
        assert prune(index) == ["album 1/1.wav"]
