"""Indexing a music folder, against librosa, torchaudio and the same network file by file, and against its floor.

Run: python tests/benchmarks/bench_index.py [SONGS]    (a folder of recordings; the shared real data if not given)

Real recordings are looped to 3-minute files of mp3, flac, ogg and m4a. The peer does what a script would: librosa.load,
torchaudio's MelSpectrogram, the network in float32, one file after another. The floor is the sum of the best times of
each stage on one core, divided by the number of cores.
"""

import os
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import av
import librosa
import numpy as np
import soundfile
import torch
import torchaudio
from figures import record

from jointembed import ConvNet, LogMel, Space, audio
from jointembed.cli.progress import FolderProgress
from jointembed.index.index import Index
from jointembed.indexing.from_folder import index_folder
from jointembed.indexing.index_encoder import IndexEncoder

warnings.filterwarnings("ignore")
RATE, SECONDS, ROUNDS, CORES = 16000, 180, 3, len(os.sched_getaffinity(0))
SETTINGS = {"sample_rate": RATE, "n_mels": 64, "n_fft": 512, "hop_length": 160}


def timed(function):
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def looped(path):
    """Return three minutes of a recording, stereo at 44.1 kHz."""
    samples, rate = librosa.load(path, sr=44100, mono=False)
    stereo = np.atleast_2d(samples)[[0, -1]].T
    return np.tile(stereo, (SECONDS * rate // len(stereo) + 1, 1))[: SECONDS * rate].astype(np.float32)


def write_m4a(path, samples):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        stream.layout = "stereo"
        for start in range(0, len(samples), 1024):
            block = np.ascontiguousarray(samples[start : start + 1024].T)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = 44100, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write(folder, songs, each=8):
    recordings = [path for path in sorted(songs.glob("*.*")) if path.suffix in (".ogg", ".mp3")]
    for number in range(each):
        for place, end in enumerate(("mp3", "flac", "ogg", "m4a")):
            samples = looped(recordings[(4 * number + place) % len(recordings)])
            path = folder / f"{number}.{end}"
            if end == "m4a":
                write_m4a(path, samples)
            else:
                with soundfile.SoundFile(path, "w", 44100, 2) as file:
                    for start in range(0, len(samples), 1 << 16):  # libsndfile's Vorbis encoder crashes on more at once
                        file.write(samples[start : start + (1 << 16)])
    return sorted(folder.glob("*.*"))


def network(path):
    torch.manual_seed(0)
    reader = LogMel(seconds=5.0, **SETTINGS)
    reader.fit([np.random.default_rng(0).normal(0, 0.1, 5 * RATE).astype(np.float32)])
    space = Space(128, {"audio": ConvNet(reader, [64, 128, 256, 512], 256)})
    space.build()
    space.eval().save(path)
    return space


def loaded(path):
    """Return what librosa.load returns; it does not read m4a by itself."""
    if path.suffix != ".m4a":
        return librosa.load(path, sr=RATE)[0]
    return audio.read(path, RATE)


def peer(space, paths):
    mel = torchaudio.transforms.MelSpectrogram(RATE, 512, hop_length=160, n_mels=64)
    encoder = space.encoder("audio")
    stages = encoder.stages.to(memory_format=torch.contiguous_format)
    with torch.inference_mode():
        for path in paths:
            frames = (mel(torch.from_numpy(loaded(path))) + 1e-6).log().T
            windows = torch.stack(list(frames[: len(frames) // 500 * 500].split(500)))[:, None]
            h = stages((windows - encoder.mean) / encoder.std)
            h = torch.cat([h.mean(2), h.amax(2)], 1).flatten(1)
            space.column("audio").project(encoder.head(h)).mean(0)


def ours(checkpoint, folder, index):
    Path(index).unlink(missing_ok=True)
    model = IndexEncoder(checkpoint)
    model.space.encoder("audio").stages.to(memory_format=torch.channels_last)
    times = {}
    books = index_folder(model, str(folder), index, FolderProgress(), times=times)
    assert books.skipped == 0, books
    return books, times


def floor(checkpoint, paths):
    """Return the best core-seconds of each stage: decoding, resampling, log-mel, network, one thread each."""
    stages = {}
    samples = []
    for path in paths:
        best = min((audio.decode(path, RATE) for _ in range(2)), key=lambda sound: sum(sound.times.values()))
        samples.append(best.samples)
        for stage, seconds in best.times.items():
            stages[stage] = stages.get(stage, 0.0) + seconds
    space = IndexEncoder(checkpoint).space
    reader, encoder = space.reader("audio"), space.encoder("audio")
    torch.set_num_threads(1)
    try:
        stages["log-mel"] = min(timed(lambda: [reader.windows(sound) for sound in samples])[0] for _ in range(2))
        x = reader.encode([samples[0][: 32 * 5 * RATE]])
        count = sum(len(sound) for sound in samples) / (32 * 5 * RATE)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            parts = [x.take(part) for part in torch.arange(32).split(8)]
            encoder.pieces(x)
            whole = min(timed(lambda: encoder.pieces(x))[0] for _ in range(3))
            split = min(timed(lambda: [encoder.pieces(part) for part in parts])[0] for _ in range(3))
            stages["network"] = min(whole, split) * count
    finally:
        torch.set_num_threads(CORES)
    return stages


def compare_log_mels():
    """Return the seconds of a 3-minute log-mel by torchaudio and by us, and the largest difference to librosa's."""
    samples = np.random.default_rng(0).normal(0, 0.1, SECONDS * RATE).astype(np.float32)
    reader = LogMel(seconds=5.0, floor=1e-6, **SETTINGS)
    theirs = torchaudio.transforms.MelSpectrogram(RATE, 512, hop_length=160, n_mels=64)
    both = {"torchaudio": [], "ours": []}
    torch.set_num_threads(1)
    for _ in range(7):
        both["torchaudio"].append(timed(lambda: (theirs(torch.from_numpy(samples)) + 1e-6).log())[0])
        both["ours"].append(timed(lambda: reader.preprocess(samples))[0])
    torch.set_num_threads(CORES)
    power = librosa.feature.melspectrogram(
        y=samples, sr=RATE, n_fft=512, hop_length=160, n_mels=64, fmin=40.0, pad_mode="constant"
    )
    difference = np.abs(reader.preprocess(samples) - np.log(power.T + 1e-6)).max()
    return {name: statistics.median(times) for name, times in both.items()}, float(difference)


def unchanged(checkpoint, folder, count=2000):
    """Return the seconds of a second run over unchanged files."""
    tiny = 0.1 * np.random.default_rng(0).normal(size=(count, RATE // 2)).astype(np.float32)
    for number, samples in enumerate(tiny):
        soundfile.write(folder / f"{number}.wav", samples, RATE)
    index = folder.parent / "many.index"
    ours(checkpoint, folder, str(index))
    seconds, books = timed(lambda: index_folder(IndexEncoder(checkpoint), str(folder), str(index), FolderProgress()))
    assert books.unchanged == count
    with Index.open(index) as opened:
        assert len(opened) == count
    return seconds


def main(songs):
    print(f"{CORES} cores, {SECONDS} s a file, medians of {ROUNDS} alternating rounds")
    with tempfile.TemporaryDirectory() as place:
        folder, checkpoint = Path(place) / "music", Path(place) / "model.ckpt"
        folder.mkdir()
        paths = write(folder, songs)
        space = network(checkpoint)
        duration = len(paths) * SECONDS
        times = {"peer": [], "ours": []}
        for _ in range(ROUNDS):
            times["peer"].append(timed(lambda: peer(space, paths))[0])
            times["ours"].append(timed(lambda: ours(checkpoint, folder, f"{place}/songs.index"))[0])
        stages = floor(checkpoint, paths)
        least = sum(stages.values()) / CORES
        record(f"index {len(paths)} files of {SECONDS} s", times["ours"], {"librosa, torchaudio": times["peer"]})
        a, b = (statistics.median(times[name]) for name in ("peer", "ours"))
        print(f"{'file -> vector':<34}{'x real time':>12}{'ratio':>8}")
        print(f"{'librosa, torchaudio, float32':<34}{duration / a:>12.0f}{1:>8.2f}")
        print(f"{'jointembed index':<34}{duration / b:>12.0f}{a / b:>8.2f}")
        print(f"{'floor':<34}{duration / least:>12.0f}{a / least:>8.2f}   ours is {least / b:.0%} of it")
        print(
            ", ".join(f"{stage} {1000 * seconds / duration:.2f}" for stage, seconds in stages.items()),
            "core-s / 1000 s",
        )
        both, difference = compare_log_mels()
        print(f"log-mel against torchaudio: {both['torchaudio'] / both['ours']:.2f} x; to librosa: {difference:.1e}")
        many = Path(place) / "many"
        many.mkdir()
        print(f"a second run over 2,000 unchanged files: {unchanged(checkpoint, many):.2f} s")


if __name__ == "__main__":
    data = Path(os.environ.get("JOINTEMBED_DATA", Path(__file__).parents[3] / "shared" / "data"))
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else data / "songs")
