"""Memory and time of a step with `grad_cache_chunk` against the plain step, on batches of 4,096 rows.

The activations are the peak of the tensors that a step allocates, as the profiler of torch counts them: the same in
every run, and what a GPU would hold. Beside it stands the resident memory of the process (VmHWM, Linux) above model,
gradients and batch. With chunks most of that is memory which glibc keeps for later, and differs between runs; with
MALLOC_MMAP_THRESHOLD_=262144 in the environment it is given back, and a step takes longer. Each number is that of a
fresh process; the two take turns, so that a busy machine slows both.

Run: python tests/benchmarks/bench_grad_cache.py [--rounds N] [--chunk ROWS] [NAME ...]
"""

import argparse
import ctypes
import gc
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROWS = 4096
WORDS = [f"word{number}" for number in range(2000)]


def sentence(rng, words=6):
    return " ".join(WORDS[number] for number in rng.integers(0, len(WORDS), words))


def text(width):
    from jointembed import Subwords, TextTransformer

    return TextTransformer(Subwords(2000, 16), width, 1, 4)


def make_texts(rng):
    """Two languages, as `Match(en, de)`."""
    from jointembed import Match

    cells = {"en": [sentence(rng) for _ in range(ROWS)], "de": [sentence(rng) for _ in range(ROWS)]}
    return cells, {"en": text(64), "de": text(64)}, [Match("en", "de")], {}


def make_captions(rng):
    """Images with one to five captions each."""
    from jointembed import ConvNet, Match, SparseImage

    captions = [[sentence(rng, 3) for _ in range(1 + n % 5)] for n in range(ROWS)]
    images = [rng.integers(0, 256, (28, 28)) * (rng.random((28, 28)) < 0.2) for _ in range(ROWS)]
    encoders = {"image": ConvNet(SparseImage([28, 28]), [16, 32], 64, axis=None), "caption": text(64)}
    return {"image": images, "caption": captions}, encoders, [Match("image", "caption")], {}


def make_tags(rng):
    """Texts with tags that are read as text: `DistinctInBatch`."""
    from jointembed import BagOfWords, EmbeddingBag, Match
    from jointembed.objectives import DistinctInBatch

    tags = [rng.choice(WORDS, 1 + n % 5).tolist() for n in range(ROWS)]
    encoders = {"words": text(64), "tags": EmbeddingBag(BagOfWords(), 64)}
    match = Match("words", "tags", DistinctInBatch(), "sigmoid")
    return {"words": [sentence(rng) for _ in range(ROWS)], "tags": tags}, encoders, [match], {}


def make_history(rng):
    """Histories of 20 films, and the next film among 512."""
    from jointembed import Category, CausalTransformer, EmbeddingBag, NextItem

    cells = {"film": [rng.choice(WORDS, 20).tolist() for _ in range(ROWS)]}
    pools = {"film": CausalTransformer(20, 1, 2)}
    return cells, {"film": EmbeddingBag(Category())}, [NextItem("film", 512)], {"pools": pools}


def make_genres(rng):
    """Texts with labels, each scored among all of 2,000."""
    from jointembed import Category, EmbeddingBag, Match

    cells = {"words": [sentence(rng) for _ in range(ROWS)], "label": rng.choice(WORDS, (ROWS, 2)).tolist()}
    encoders = {"words": text(64), "label": EmbeddingBag(Category())}
    return cells, encoders, [Match("words", "label", "all", "sigmoid")], {}


SETUPS = {"texts": make_texts, "captions": make_captions, "tags": make_tags, "history": make_history,
          "labels": make_genres}  # fmt: skip


def memory(name):
    """A number of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))


def measure(name, chunk):
    """The memory of the activations of a step in bytes, and its time in seconds."""
    import torch

    from jointembed import JointEmbedding

    torch.manual_seed(0)
    cells, encoders, objectives, settings = SETUPS[name](np.random.default_rng(0))
    model = JointEmbedding(64, encoders, objectives, **settings)
    batch = {}
    for reader, columns in model.readers():
        for column in columns:
            reader.fit(cells[column])
            batch[column] = reader.encode(cells[column])
    del cells
    model.configure_model()

    def step(batch):
        start = time.perf_counter()
        torch.stack(list(model.losses(batch).values())).sum().backward()
        return time.perf_counter() - start

    first = torch.arange(128)
    step({column: x[first] for column, x in batch.items()})  # threads, libraries, and the gradients
    model.grad_cache_chunk = chunk
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    step(batch)
    peak = memory("VmHWM") - before
    seconds = step(batch)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step(batch)
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    sizes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return {"tensors": int(np.cumsum(sizes).max()), "resident": peak, "seconds": seconds}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*SETUPS, []])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chunk", type=int, default=128)
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments.names[0], arguments.measure)))
        return
    titles = [f"{kind} {title}" for kind in ("tensors", "resident") for title in ("MB", "chunks MB", "share")]
    print(f"{'':<10}" + "".join(f"{title:>20}" for title in titles) + f"{'plain s':>10}{'chunks s':>10}{'time':>7}")
    for name in arguments.names or SETUPS:
        results = []
        for _ in range(arguments.rounds):
            for chunk in (0, arguments.chunk):
                command = [sys.executable, __file__, name, "--measure", str(chunk)]
                run = subprocess.run(command, check=True, capture_output=True, text=True)
                results.append(json.loads(run.stdout.splitlines()[-1]))
        plain, chunks = results[::2], results[1::2]
        print(f"{name:<10}", end="")
        for kind in ("tensors", "resident"):
            sizes = [statistics.median(result[kind] for result in part) / 1e6 for part in (plain, chunks)]
            print(f"{sizes[0]:>20.0f}{sizes[1]:>20.0f}{sizes[1] / sizes[0]:>20.1%}", end="")
        ratio = statistics.median(b["seconds"] / a["seconds"] for a, b in zip(plain, chunks, strict=True))
        times = [statistics.median(result["seconds"] for result in part) for part in (plain, chunks)]
        print(f"{times[0]:>10.2f}{times[1]:>10.2f}{ratio:>7.2f}", flush=True)


if __name__ == "__main__":
    main()
