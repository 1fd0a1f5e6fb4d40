"""A small commit into a large index, and the first search after it: `python tests/benchmarks/bench_commit.py`.

Milliseconds of wall-clock time, medians of 5; 10 rows are added to 100,000 rows of 128 dimensions.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from jointembed.index.index import Index

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
DIM, ADDED, ROUNDS = 128, 10, 5


def milliseconds(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return 1000 * (time.perf_counter() - start)


def rows(start, count):
    return [
        {"id": f"s{n}", "title": f"Song number {n}", "genre": "waltz", "tempo": 60 + n % 100, "note": f"text {n % 977}"}
        for n in range(start, start + count)
    ]


def main():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((COUNT + ADDED * ROUNDS, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    times = {"commit": [], "first search": [], "first text search": [], "another process's first search": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.index"
        with Index.create(path, DIM, "cosine") as index:
            print(f"fill: {milliseconds(index.add, rows(0, COUNT), vectors[:COUNT], 'audio'):.0f} ms")
            index.search(vectors[0])
            index.search_text("waltz")
            for start in range(COUNT, len(vectors), ADDED):
                part = slice(start, start + ADDED)
                times["commit"].append(milliseconds(index.add, rows(start, ADDED), vectors[part], "audio"))
                times["first search"].append(milliseconds(index.search, vectors[0]))
                times["first text search"].append(milliseconds(index.search_text, f"{start}"))
                with Index.open(path) as reader:
                    times["another process's first search"].append(milliseconds(reader.search, vectors[0]))
    for name, values in times.items():
        print(f"{name}: {statistics.median(values):.1f} ms")


if __name__ == "__main__":
    main()
