"""The wheel alone, installed elsewhere, carries all that the demo needs."""

import os
import subprocess
import sys
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
    assert "synthetic songs" in printed and "Try next" in printed
    for line in printed.split("Try next:")[1].splitlines():
        if line.strip().startswith("jointembed") and " serve " not in line:  # which would not end
            subprocess.run(line.replace("jointembed", f"{sys.executable} -m jointembed", 1), shell=True, cwd=tmp_path,
                           env=environment, check=True, capture_output=True)  # fmt: skip
