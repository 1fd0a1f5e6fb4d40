"""How many two-second clips a core decodes, turns into log-mel spectrograms and collates in a second.

python tests/benchmarks/bench_pipeline.py [SECONDS] prints a table; SECONDS (2) is how long each stage is measured.
"""

import io
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

from jointembed import LogMel, audio

CLIP_SECONDS = 2.0
BATCH = 64


def rate(function, seconds):
    """Calls a second, after a first one."""
    function()
    count, begin = 0, time.process_time()
    while time.process_time() - begin < seconds:
        function()
        count += 1
    return count / (time.process_time() - begin)


def main(seconds):
    torch.set_num_threads(1)
    reader = LogMel(sample_rate=16000, seconds=CLIP_SECONDS)
    noise = np.random.default_rng(0).normal(0, 0.1, int(CLIP_SECONDS * 22050)).astype(np.float32)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for format in ("WAV", "FLAC", "OGG", "MP3"):
            data, path = io.BytesIO(), Path(folder) / f"clip.{format.lower()}"
            soundfile.write(data, noise, 22050, format=format)
            path.write_bytes(data.getvalue())
            decode = rate(lambda path=path: audio.read(path, 16000), seconds)
            rows.append((f"decode {format.lower()} of 22,050 Hz", decode))
        samples = audio.read(Path(folder) / "clip.wav", 16000)
    rows.append(("log-mel", rate(lambda: reader.preprocess(samples), seconds)))
    array = reader.preprocess(samples)
    reader.fit([samples])
    cells, load = [samples] * BATCH, lambda reader, element: array
    rows.append(("collate, of loaded arrays", BATCH * rate(lambda: reader.encode(cells, None, load), seconds)))
    print(f"{'stage':32}{'clips/s a core':>16}")
    for name, value in rows:
        print(f"{name:32}{value:>16,.0f}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0)
