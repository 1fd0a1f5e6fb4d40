"""The retrieval metrics of all queries among all candidates, beside the bare matrix products of their vectors.

Each query has one relevant candidate, or the 16 of a label. The products take turns with the evaluation, 512 queries at
a time, in float64, in which the metrics are computed, and in float32. The memory is the peak of the process above what
the vectors and the task take.

Run: python tests/benchmarks/bench_evaluate.py [--count 100000] [--dim 128] [--rounds 3]
"""

import argparse
import ctypes
import gc
import statistics
import time
from pathlib import Path

import numpy as np
from figures import record

from jointembed.evaluation import retrieval
from jointembed.evaluation.retrieval_task import RetrievalTask


def make_task(count, relevant):
    """Queries whose relevant candidates are those of their label, of `relevant` candidates each."""
    labels = np.arange(count) // relevant
    offsets = np.minimum(np.arange(labels[-1] + 2) * relevant, count)
    names = list(range(count))
    alone = np.full(count, -1)
    members = np.arange(count)
    return RetrievalTask(
        "text", "audio", names, names, np.arange(count + 1), labels, offsets, members, alone, None, names, None, 0
    )


def product(queries, candidates):
    start = time.perf_counter()
    for first in range(0, len(queries), 512):
        queries[first : first + 512] @ candidates.T
    return time.perf_counter() - start


def memory(name):
    """A number of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    candidates = rng.standard_normal((options.count, options.dim), np.float32)
    queries = candidates + 1.5 * rng.standard_normal((options.count, options.dim), np.float32)
    print(f"{'relevant':>9}{'evaluate s':>12}{'float64 s':>11}{'ratio':>7}{'float32 s':>11}{'ratio':>7}{'MB':>7}")
    for relevant in (1, 16):
        task, times, peaks = make_task(options.count, relevant), [], []
        for _ in range(options.rounds):
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)
            before = memory("VmRSS")
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
            start = time.perf_counter()
            retrieval.score_queries(task, queries, candidates, "cosine", (1, 5, 10))
            ours = time.perf_counter() - start
            peaks.append(memory("VmHWM") - before)
            wide = product(queries.astype(np.float64), candidates.astype(np.float64))
            times.append((ours, wide, product(queries, candidates)))
        ours, wide, narrow = zip(*times, strict=True)
        medians = [statistics.median(column) for column in (ours, wide, narrow)]
        ratios = [statistics.median(a / b for a, b in zip(ours, peer, strict=True)) for peer in (wide, narrow)]
        print(f"{relevant:>9}{medians[0]:>12.1f}{medians[1]:>11.1f}{ratios[0]:>7.2f}{medians[2]:>11.1f}"
              f"{ratios[1]:>7.2f}{max(peaks) / 1e6:>7.0f}")  # fmt: skip
        name = f"metrics of {options.count:,} queries, {relevant} relevant each"
        record(name, ours, {"product in float64": wide, "product in float32": narrow})


if __name__ == "__main__":
    main()
