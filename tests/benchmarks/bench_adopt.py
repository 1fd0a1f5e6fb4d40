"""Embedding songs with an adopted CLAP, against librosa, CLAP's feature extractor and ClapModel file by file.

Run: python tests/benchmarks/bench_adopt.py [ROUNDS [THREADS]]

The network has the size of laion/clap-htsat-unfused and random weights, and is loaded on both sides. The peer does what
a script would: librosa.load, and windows of 10 s of one file after the other in float32. Ours does what `jointembed
index` does with a few files: processes decode them, and their windows are embedded, in bfloat16 if that changes the
vectors little. On a busy machine more threads are slower than one, for both.
"""

import os
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import librosa
import numpy as np
import soundfile
import torch
import transformers
from figures import record

from jointembed import Space
from jointembed.audio.workers import Decoders
from jointembed.indexing.index_encoder import IndexEncoder
from jointembed.pretrained.huggingface.audio import PretrainedAudioEncoder
from jointembed.pretrained.huggingface.audio_features import ClapFeatures

warnings.filterwarnings("ignore")
RATE, SECONDS, FILES, WINDOW = 48000, 60, 4, 480_000
EXTRACTOR = {"truncation": "rand_trunc", "padding": "repeatpad"}  # as published; the rest are defaults of transformers


def timed(function):
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def songs(folder):
    """Write stereo files at 44.1 kHz of changing chords with some noise, so that all windows differ."""
    rng = np.random.default_rng(0)
    times = np.arange(SECONDS * 44100) / 44100
    paths = []
    for number in range(FILES):
        notes = 220 * 2 ** (rng.integers(0, 36, (SECONDS, 3)) / 12)
        phase = 2 * np.pi * np.cumsum(notes.repeat(44100, 0), 0) / 44100
        mono = 0.1 * np.sin(phase).sum(1) * np.exp(-3 * (times % 1)) + 0.01 * rng.normal(size=len(times))
        path = folder / f"{number}.{'flac' if number % 2 else 'mp3'}"
        soundfile.write(path, np.stack([mono, 0.8 * mono], 1).astype(np.float32), 44100)
        paths.append(path)
    return paths


def convert_model(model, path):
    """Return the audio half of a ClapModel as `jointembed adopt` saves it."""
    settings = PretrainedAudioEncoder.architectures["clap_audio_model"].complete_settings(
        model.config.audio_config.to_dict()
    )
    space = Space(512, {"audio": PretrainedAudioEncoder(ClapFeatures(EXTRACTOR), "clap_audio_model", settings)})
    space.build()
    space.encoder("audio").load_weights(model.state_dict())
    space.eval().save(path)
    return IndexEncoder(path)


def peer(model, extractor, paths, times):
    vectors = []
    for path in paths:
        took, samples = timed(lambda: librosa.load(path, sr=RATE)[0])  # noqa: B023
        times["decode"].append(took)
        parts = np.split(samples, range(WINDOW, len(samples), WINDOW))
        windows = [part for part in parts if len(part) * 2 >= WINDOW]
        took, inputs = timed(lambda: extractor(windows, sampling_rate=RATE, return_tensors="pt"))  # noqa: B023
        times["features"].append(took)
        # The extractor marks a random window as longer than it is, which the unfused model ignores.
        with torch.inference_mode():
            took, out = timed(lambda: model.get_audio_features(**inputs))  # noqa: B023
        times["network"].append(took)
        z = getattr(out, "pooler_output", out).mean(0)
        vectors.append((z / z.norm()).numpy())
    return np.stack(vectors)


def ours(model, paths, times):
    with Decoders(RATE) as decoders:
        sounds = (sound.samples for sound in decoders.map(os.fsencode(path) for path in paths))
        vectors = model.space.embed_stream("audio", sounds, precision=model.precision, seconds=times)
        return np.concatenate(list(vectors))


def main(rounds=3, threads=0):
    torch.set_num_threads(threads or torch.get_num_threads())
    torch.manual_seed(0)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    extractor = transformers.ClapFeatureExtractor(**EXTRACTOR)
    theirs = transformers.ClapModel(transformers.ClapConfig()).eval()
    with tempfile.TemporaryDirectory() as place:
        paths = songs(Path(place))
        model = convert_model(theirs, Path(place) / "clap.ckpt")
        model.choose("audio", [librosa.load(path, sr=RATE, duration=20)[0] for path in paths[:2]])
        duration, seconds = FILES * SECONDS, {"peer": [], "ours": []}
        stages = {"peer": {"decode": [], "features": [], "network": []}, "ours": {}}
        for _ in range(rounds):
            took, expected = timed(lambda: peer(theirs, extractor, paths, stages["peer"]))
            seconds["peer"].append(took)
            took, vectors = timed(lambda: ours(model, paths, stages["ours"]))
            seconds["ours"].append(took)
        record(f"CLAP, {FILES} files of {SECONDS} s", seconds["ours"], {"librosa, ClapModel": seconds["peer"]})
        a, b = (statistics.median(seconds[name]) for name in ("peer", "ours"))
        ratio = statistics.median(x / y for x, y in zip(*seconds.values(), strict=True))
        print(f"{FILES} files of {SECONDS} s, {torch.get_num_threads()} threads, medians of {rounds} rounds in turns")
        print(f"{'file -> vector':<40}{'x real time':>12}{'ratio':>8}")
        print(f"{'librosa, ClapProcessor, ClapModel':<40}{duration / a:>12.1f}{1:>8.2f}")
        print(f"{'jointembed, adopted':<40}{duration / b:>12.1f}{ratio:>8.2f}")
        cosine = (expected * vectors).sum(1).min()
        print(
            f"precision: {model.precision if isinstance(model.precision, str) else 'int8'}; lowest cosine {cosine:.6f}"
        )
        for name, parts in stages.items():
            each = ", ".join(f"{stage} {np.sum(durations) / rounds:.2f} s" for stage, durations in parts.items())
            print(f"{name}, per round: {each}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
