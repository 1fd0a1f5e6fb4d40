"""Indexing a folder with musicnn, against librosa and the same network in float32, file by file on one core.

Run: python tests/benchmarks/bench_music.py MODEL.ckpt FOLDER    (a checkpoint of `jointembed adopt music`)
"""

import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median

from figures import record

ROUNDS = 3


def peer(checkpoint, folder):
    """What a script would do: librosa's own decoding, resampling and spectrogram, then the network.

    With gradients enabled its first layer is computed as the convolution of torch that was fastest: four times as fast
    as a convolution of the window as an image, which a script would take first.
    """
    import librosa
    import numpy as np
    import torch

    from jointembed import Space

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    network = Space.load(checkpoint).encoder("audio").network.requires_grad_(False)
    librosa.feature.melspectrogram(y=np.zeros(16000, np.float32), sr=16000)  # compiles and imports
    start, seconds = time.perf_counter(), 0.0
    for path in sorted(Path(folder).iterdir()):
        samples = librosa.load(path, sr=16000)[0]
        seconds += len(samples) / 16000
        mel = librosa.feature.melspectrogram(y=samples, sr=16000, n_fft=512, hop_length=256, n_mels=96)
        frames = torch.from_numpy(np.log10(10000 * mel.T + 1))
        network(torch.stack(list(frames[: len(frames) // 187 * 187].split(187)))).mean(0)
    print(seconds, time.perf_counter() - start)


def ours(checkpoint, folder):
    """`jointembed index`, without the start of Python and the reading of the model."""
    from jointembed.cli.progress import FolderProgress
    from jointembed.indexing.from_folder import index_folder
    from jointembed.indexing.index_encoder import IndexEncoder

    with tempfile.TemporaryDirectory() as place:
        encoder = IndexEncoder(checkpoint)
        assert encoder.space
        start = time.perf_counter()
        report = index_folder(encoder, folder, f"{place}/songs.index", FolderProgress())
        assert report.skipped == 0, report
        precision = encoder.precision if isinstance(encoder.precision, str) else "int8"
        print(time.perf_counter() - start, precision)


def run(name, checkpoint, folder, core=None):
    command = [sys.executable, __file__, checkpoint, folder, name]
    if core is not None:
        command = ["taskset", "-c", str(core), *command]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        sys.exit(process.stderr)
    return process.stdout.split()


def main(checkpoint, folder):
    cores = sorted(os.sched_getaffinity(0))
    times = {"peer": [], "ours": []}
    for _ in range(ROUNDS):
        duration, seconds = map(float, run("peer", checkpoint, folder, cores[0]))
        times["peer"].append(seconds)
        seconds, precision = run("ours", checkpoint, folder)[-2:]
        times["ours"].append(float(seconds))
    record(f"index {duration:.0f} s of sound, musicnn", times["ours"], {"librosa, one core": times["peer"]})
    a, b = median(times["peer"]), median(times["ours"])
    print(f"{duration:.0f} s of sound, medians of {ROUNDS} alternating rounds")
    print(f"{'file -> vector':<44}{'x real time':>12}{'ratio':>8}")
    print(f"{'librosa, float32, file by file, 1 core':<44}{duration / a:>12.0f}{1:>8.2f}")
    print(f"{f'jointembed index, {precision}, {len(cores)} cores':<44}{duration / b:>12.0f}{a / b:>8.2f}")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        {"peer": peer, "ours": ours}[sys.argv[3]](*sys.argv[1:3])
    else:
        main(*sys.argv[1:3])
