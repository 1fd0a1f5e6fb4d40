"""Files are complete or absent, and one process at a time holds a lock."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
import unicodedata

import pytest

from jointembed import files
from jointembed.errors import DiskFullError, UsageError

HOLDER = """
import sys, time
from jointembed import files
with files.lock(sys.argv[1], "pid 7, a test"):
    print("locked", flush=True)
    time.sleep(1000)
"""


def test_failed_write_keeps_the_old_file_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "a.json"
    files.write(path, "old")
    with pytest.raises(ValueError, match="half-way"):
        with files.atomic_write(path) as file:
            file.write(b"new")
            raise ValueError("half-way")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_full_disk_is_named_and_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    files.write(path, "old")

    def fail(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DiskFullError, match="a.json: no space is left"):
        files.write(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_unwritable_paths_are_refused_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder.json").mkdir()
    for path in (tmp_path / "a.txt", tmp_path / "file" / "a.json", tmp_path / "folder.json"):
        with pytest.raises(UsageError, match=path.name):
            files.check_writable(path, "a report", ".json")
    files.check_writable(tmp_path / "new" / "a.JSON", "a report", ".json")


@pytest.mark.parametrize(
    "name", [b"a.wav", b"caf\xe9.wav", "cafe\u0301.wav".encode(), b"\\xe9.wav", b"\xff \xc3\xa9.wav"]
)
def test_text_of_a_path_leads_back_to_its_file(tmp_path, name):
    path = os.path.join(os.fsencode(tmp_path), name)
    with open(path, "wb"):
        pass
    text = files.path_to_text(name)
    text.encode("utf-8")
    for form in (text, unicodedata.normalize("NFC", text)):
        assert os.fsencode(files.text_to_path(form, str(tmp_path))) == path


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the system compares names in its own way")
def test_text_of_a_path_leads_back_through_folders_of_several_systems(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "Café ガ") for form in ("NFC", "NFD"))
    for folder, name in ((composed, decomposed), (decomposed, composed + "1"), (decomposed, "\udcff" + decomposed)):
        (tmp_path / folder).mkdir(exist_ok=True)
        path = tmp_path / folder / name
        path.write_text(name.encode("utf-8", "replace").decode())
        text = unicodedata.normalize("NFC", files.path_to_text(os.fsencode(f"{folder}/{name}")))
        assert files.text_to_path(text, str(tmp_path)) == str(path)
    assert files.text_to_path(f"{composed}/ö", str(tmp_path)) == str(tmp_path / composed / "ö")


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "x.lock")], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"locked\n"
    yield process
    process.kill()
    process.communicate()


def test_lock_of_another_process_is_refused_and_names_it(tmp_path, holder):
    with pytest.raises(files.LockedError) as refused:
        with files.lock(tmp_path / "x.lock"):
            pass
    assert refused.value.holder == "pid 7, a test"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with files.lock(tmp_path / "x.lock"):
        assert (tmp_path / "x.lock").exists()
    assert not (tmp_path / "x.lock").exists()


def test_waiting_lock_is_taken_once_it_is_free(tmp_path):
    order = []

    def wait():
        with files.lock(tmp_path / "x.lock", wait=True):
            order.append("second")

    with files.lock(tmp_path / "x.lock"):
        waiter = threading.Thread(target=wait)
        waiter.start()
        time.sleep(0.05)
        order.append("first")
    waiter.join()
    assert order == ["first", "second"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_a_pipe_or_device_is_refused_where_a_file_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    for path, noun in ((tmp_path / "pipe", "a named pipe"), (os.devnull, "a device")):
        with pytest.raises(UsageError, match=f"this is {noun}, not a file"):
            files.check_regular(path)
    for path in ("file", "missing", "", "a\0b"):  # the one who opens it tells what is wrong
        files.check_regular(tmp_path / path)
    files.check_regular("/dev/fd/0", is_read_once=True)  # of <(command)


def test_an_error_raised_while_a_full_disk_is_handled_is_that_of_the_disk(tmp_path):
    with pytest.raises(DiskFullError, match=r"a\.ckpt: no space is left"), files.atomic_write(tmp_path / "a.ckpt"):
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        finally:  # as torch does
            raise RuntimeError("unexpected pos 64 vs 0")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("path", ["s3://bucket/a.html", "gs:/bucket/a.html"])
def test_no_folder_is_named_like_an_object_store(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="an address, not a file"):
        files.check_writable(path, "a page", ".html")
    with pytest.raises(UsageError, match="an address, not a file"):
        files.write(path, "")
    with pytest.raises(UsageError, match="an address, not a file"):
        files.make_dir(path)
    assert os.listdir(tmp_path) == []
