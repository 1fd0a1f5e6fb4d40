"""Indexing a folder for long, and killed at any moment: slow, with real decoders and a small model."""

import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
import torch

from jointembed import ConvNet, Index, LogMel, Space
from jointembed.index.verify import verify

RATE = 8000
WATCHED = """
import sys
from jointembed.cli.progress import FolderProgress
from jointembed.indexing.from_folder import index_folder
from jointembed.indexing.index_encoder import IndexEncoder

def resident():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * 4096

class Watch(FolderProgress):
    def committed(self, files):
        if files % 1000 < 33:
            print(files, resident(), flush=True)

index_folder(IndexEncoder(sys.argv[1]), sys.argv[2], sys.argv[3], Watch())
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    reader = LogMel(sample_rate=RATE, seconds=1.0, n_mels=16, n_fft=256, hop_length=80)
    reader.fit([np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)])
    space = Space(8, {"audio": ConvNet(reader, [8, 16], 16)})
    space.build()
    path = tmp_path_factory.mktemp("model") / "model.ckpt"
    space.save(path)
    return str(path)


def write(folder, count, seconds):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        soundfile.write(folder / f"{number:05}.wav", rng.normal(0, 0.1, round(seconds * RATE)), RATE)


def indexed(path):
    with Index.open(path) as index:
        ids, vectors = index.vectors()
        return dict(zip(ids, np.array(vectors), strict=True))


@pytest.mark.slow
def test_a_hundred_kills_lose_double_and_change_nothing(model, tmp_path):
    music, index = tmp_path / "music", tmp_path / "killed.index"
    write(music, 500, 6.0)
    command = [sys.executable, "-m", "jointembed", "index", model, str(music)]
    subprocess.run([*command, str(tmp_path / "whole.index")], check=True, capture_output=True)
    chance, kills, stored = random.Random(0), 0, set()
    while kills < 100:
        process = subprocess.Popen([*command, str(index)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.1, 6.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        if index.exists():
            verify(index)
            with Index.open(index) as opened:
                now = set(opened.ids()) if len(opened) else set()
            assert stored <= now, "what was committed is gone"
            stored = now
            if len(stored) == 500:  # begin again: a finished index proves nothing more
                index.unlink()
                stored = set()
    subprocess.run([*command, str(index)], check=True, capture_output=True)
    killed, whole = indexed(index), indexed(tmp_path / "whole.index")
    assert killed.keys() == whole.keys() and len(whole) == 500
    assert all(np.array_equal(killed[id], whole[id]) for id in whole)


@pytest.mark.slow
def test_memory_stays_flat_over_20_000_files(model, tmp_path):
    music = tmp_path / "music"
    write(music, 20_000, 0.6)
    command = [sys.executable, "-c", WATCHED, model, str(music), str(tmp_path / "songs.index")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    counts, sizes = np.array([[int(word) for word in line.split()] for line in printed if line.split()[0].isdigit()]).T
    late = counts >= 1_000
    slope = np.polyfit(counts[late], sizes[late], 1)[0]
    print(f"{slope:.0f} bytes a file")
    assert counts.max() > 19_000 and slope <= 1024
