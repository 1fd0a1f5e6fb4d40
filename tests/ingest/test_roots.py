"""One index of several folders: each is scanned, missing and pruned by itself."""

import os
import shutil

import pytest
from scan_stub import fill, ids_of, run, state

from jointembed.errors import DamagedError, UsageError
from jointembed.index import playlist
from jointembed.index.index import Index
from jointembed.index.verify import verify
from jointembed.ingest import ScanReport, list_skips, prune


@pytest.fixture
def second(tmp_path):
    folder = tmp_path / "more"
    folder.mkdir()
    return folder


def test_same_path_in_two_folders_is_two_rows_and_each_folder_is_scanned_by_itself(root, second, place):
    fill(root, 4)
    fill(second, 4)
    for number in range(4):
        (second / f"album {number}" / f"{number}.wav").write_bytes(b"another %d" % number)
    (second / "bad.wav").write_bytes(b"BAD")
    run(root, place)
    assert run(second, place) == (ScanReport(files=5, indexed=4, skipped=1), 5)
    assert run(root, place) == (ScanReport(files=4, unchanged=4), 0)
    assert run(second, place) == (ScanReport(files=5, unchanged=4, skipped=1), 0)
    names = [f"album {number}/{number}.wav" for number in range(4)]
    assert ids_of(place) == names + [f"more//{name}" for name in names]
    with Index.open(place) as index:
        assert [skip.path for skip in list_skips(index)] == [b"more//bad.wav"]
        row = index.row("more//album 3/3.wav")
        assert (row["title"], row["path"]) == ("3", "more//album 3/3.wav")
        assert index.info.locate(row["path"]) == str(second / "album 3" / "3.wav")
        playlist.write(str(place.with_name("a.m3u8")), index, index.similar(names[3], 7))
        lines = place.with_name("a.m3u8").read_text().splitlines()
        assert "more/album 3/3.wav" in lines and "music/album 2/2.wav" in lines
    assert (verify(place).files, verify(place).missing) == (8, 0)


def test_files_move_between_folders_and_are_pruned_in_one_alone(root, second, place):
    fill(root, 4)
    fill(second, 3, "second ")
    run(root, place)
    run(second, place)
    whole = state(place)
    (root / "album 1" / "1.wav").rename(second / "moved.wav")
    (second / "second album 0" / "0.wav").unlink()
    assert run(root, place)[0] == ScanReport(files=3, unchanged=3, missing=1)
    assert run(second, place) == (ScanReport(files=3, unchanged=3, moved=1, missing=1), 0)
    with Index.open(place) as index:
        assert index.row("album 1/1.wav")["path"] == "more//moved.wav"
        shutil.move(root, root.with_name("unmounted"))
        assert prune(index) == ["more//second album 0/0.wav"]
        assert len(index) == len(whole) - 1
    shutil.move(root.with_name("unmounted"), root)
    for file in second.rglob("*.wav"):
        file.unlink()
    with pytest.raises(DamagedError, match="none of the 3 indexed files is in this folder"):
        run(second, place)
    assert len(ids_of(place)) == 6


def test_overlapping_and_empty_folders_are_refused(root, second, place, tmp_path):
    fill(root, 3)
    run(root, place)
    for folder, outer in ((root / "album 1", root), (tmp_path, tmp_path)):
        with pytest.raises(UsageError, match=f"overlap. Fix: index {outer} alone"):
            run(folder, place)
    (second / "notes.txt").touch()
    with pytest.raises(UsageError, match="it holds no sound files"):
        run(second, place)
    link = tmp_path / "link"
    link.symlink_to(root)
    assert run(link, place)[0] == ScanReport(files=3, unchanged=3)
    with Index.open(place) as index:
        assert [(r.folder, r.label) for r in index.info.roots] == [(str(root), "")]


def test_moved_folder_is_told_from_a_further_one(root, second, place, tmp_path):
    fill(root, 3)
    fill(second, 3, "second ")
    run(root, place)
    third = tmp_path / "third" / "more"
    shutil.copytree(second, third)
    (third / "its own.wav").write_bytes(b"its own")
    root.rename(tmp_path / "moved")  # its disk is away
    run(second, place)
    run(third, place)
    run(tmp_path / "moved", place)
    with Index.open(place) as index:
        folders = {root.label: root.folder for root in index.info.roots}
    assert folders == {"": str(tmp_path / "moved"), "more//": str(second), "more 2//": str(third)}
    assert len(ids_of(place)) == 7 and os.path.exists(place)
