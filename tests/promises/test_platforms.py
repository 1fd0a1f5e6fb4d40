"""Windows and macOS, as far as Linux can show: what they lack is taken away from each process that is started here."""

import json
import os
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
IMPORT_ALL_THEN_WORK = """
import importlib, pkgutil
import jointembed
for module in pkgutil.walk_packages(jointembed.__path__, "jointembed."):
    if not module.name.endswith(("__main__", "adapters.mteb", "adapters.sentence_transformers")):  # of extras
        importlib.import_module(module.name)
from jointembed.__main__ import main
assert not main("fit -c recipe.yaml".split())
assert not main("index run music songs.index --column sound".split())
assert not main("search songs.index music/3.wav --json".split())
"""
RECIPE = """
model:
  dim: 4
  encoders:
    digit: {class_path: EmbeddingBag, init_args: {reader: {class_path: Category}}}
    sound:
      class_path: ConvNet
      init_args:
        channels: [4, 4]
        reader: {class_path: LogMel, init_args: {seconds: 0.9, sample_rate: 8000, n_mels: 16, gain: 3.0}}
  objectives: [{class_path: Match, init_args: {query: sound, target: digit, candidates: all}}]
data: {table: rows.jsonl, batch_size: 4, workers: 1, cache: cache}
trainer: {max_epochs: 2, accelerator: cpu, enable_progress_bar: false, default_root_dir: run}
"""
LOCK = """
import subprocess, sys
from jointembed import files

REFUSED = '''
from jointembed import files
try:
    with files.lock("x.lock"): print("locked")
except files.LockedError as error:
    print(error.holder)
'''
WAITING = '''
from jointembed import files
print("waiting", flush=True)
with files.lock("x.lock", wait=True): print("locked")
'''
with files.lock("x.lock", "pid 7"):
    print(subprocess.run([sys.executable, "-c", REFUSED], capture_output=True, text=True).stdout, end="")
    waiter = subprocess.Popen([sys.executable, "-c", WAITING], stdout=subprocess.PIPE, text=True)
    print(waiter.stdout.readline(), end="")
    try:
        waiter.wait(0.3)
    except subprocess.TimeoutExpired:
        print("it waits")
print(waiter.communicate()[0], end="")
"""


@pytest.fixture
def run(tmp_path):
    """Runs a script in a folder without what Windows lacks; gives what it has printed on both streams."""

    def run(code):
        paths = [ROOT / "tests" / "support" / "without_posix", ROOT]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "CUDA_VISIBLE_DEVICES": ""}
        words = [sys.executable, "-W", "ignore", "-c", code]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout, done.stderr

    return run


def write_sounds(folder):
    folder.mkdir()
    seconds = np.arange(8000) / 8000
    for number in range(8):
        with wave.open(str(folder / f"{number}.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes((9000 * np.sin(2 * np.pi * 200 * (1 + number) * seconds)).astype("<i2").tobytes())


@pytest.mark.slow
def test_imports_training_with_spawned_workers_and_an_index_of_a_folder_do_without_posix(run, tmp_path):
    write_sounds(tmp_path / "music")
    rows = [{"sound": f"music/{number}.wav", "digit": number % 2, "split": "train"} for number in range(8)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    printed, errors = run(IMPORT_ALL_THEN_WORK)
    assert (tmp_path / "run" / "last.ckpt").is_file() and not (tmp_path / "songs.index.lock").exists()
    assert errors.count("does not limit the memory") == 1
    assert "3.wav" in printed.splitlines()[-1]


def test_only_one_process_has_a_lock_without_posix(run):
    assert run(LOCK)[0].split("\n")[:4] == ["pid 7", "waiting", "it waits", "locked"]


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_no_name_is_used_that_a_platform_lacks(platform, tmp_path):
    words = [sys.executable, "-m", "mypy", "--platform", platform, "--cache-dir", str(tmp_path)]
    done = subprocess.run([*words, "--no-warn-unused-ignores"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
