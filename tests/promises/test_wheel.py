"""The wheel alone, installed elsewhere, carries all that the demo needs; its metadata and contents are in order."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_demo_runs_from_a_wheel_installed_elsewhere(tmp_path):
    root = str(Path(__file__).parents[2])
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", root, "--no-deps", "-w", str(tmp_path)], check=True)
    (wheel,) = tmp_path.glob("jointembed-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(tmp_path / "site"), str(wheel)], check=True)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}

    def run(*words):
        command = [sys.executable, "-m", "jointembed", *words]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout

    where = "import jointembed; print(jointembed.__file__)"
    printed_path = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert str(tmp_path / "site") in printed_path.stdout
    assert "songs/joint" in run("recipes")
    printed = run("demo", "demo", "--songs", "60", "--epochs", "1")
    assert "(synthetic: they say little" in printed and "Try next" in printed
    for line in printed.split("Try next:")[1].splitlines():
        if line.strip().startswith("jointembed") and " serve " not in line:  # which would not end
            subprocess.run(line.replace("jointembed", f"{sys.executable} -m jointembed", 1), shell=True, cwd=tmp_path,
                           env=environment, check=True, capture_output=True)  # fmt: skip


@pytest.mark.slow
def test_wheel_and_sdist_are_fit_to_be_published(tmp_path):
    pytest.importorskip("twine")
    pytest.importorskip("check_wheel_contents")
    root = Path(__file__).parents[2]
    python = [sys.executable, "-m"]
    subprocess.run([*python, "build", "-o", str(tmp_path), str(root)], check=True, capture_output=True)
    wheel, sdist = [*tmp_path.glob("*.whl"), *tmp_path.glob("*.tar.gz")]
    subprocess.run([*python, "twine", "check", "--strict", str(wheel), str(sdist)], check=True)
    subprocess.run([*python, "check_wheel_contents", str(wheel)], check=True)
    names = zipfile.ZipFile(wheel).namelist()
    expected = ["py.typed", "recipes/songs/joint.yaml", "recipes/songs/prepare.py"]
    expected.append("recipes/mnist/protocols/mnist-3d.yaml")
    assert {f"jointembed/{name}" for name in expected} <= set(names)
    assert not [name for name in names if "test" in Path(name).parts[0] or Path(name).name.startswith("test_")]
    metadata = zipfile.ZipFile(wheel).read(next(name for name in names if name.endswith("METADATA"))).decode()
    assert "Classifier: Typing :: Typed" in metadata
