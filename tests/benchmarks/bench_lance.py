"""One filtered query at a time, in an index on SQLite and in one on Lance: `bench_lance.py [ROWS]`.

The ten nearest rows with one of twenty genres, by an exact search of both and by the IVF-PQ index of Lance. The vectors
are those of `bench_search.py`. It prints the median in ms, the recall@10, and the memory of the process in MB.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_search import peak_memory, random_queries, random_vectors, write_index

from jointembed.index.index import Index

ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
DIM, GENRES, K, QUERIES, WARMUP = 128, 20, 10, 60, 10


def measure(path, folder, where, truth):
    with Index.open(path) as index:
        times, recalls = [], []
        for query, best in zip(np.load(folder / "queries.npy"), truth, strict=True):
            start = time.perf_counter()
            hits = index.search(query, K, where=where)
            times.append(1000 * (time.perf_counter() - start))
            recalls.append(len({int(hit.id) for hit in hits} & set(best.tolist())) / K)
    print(
        f"p50 {np.median(times[WARMUP:]):8.2f} ms   recall {np.mean(recalls):.4f}   {peak_memory():6.0f} MB", flush=True
    )


def build(path):
    with Index.open(path) as index:
        start = time.perf_counter()
        recall = index.build_approximate()
        print(f"IVF-PQ built in {time.perf_counter() - start:.0f} s, its own recall {recall:.4f}", flush=True)


def main():
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        vectors = random_vectors(ROWS, DIM)
        queries = random_queries(vectors, QUERIES + WARMUP)
        np.save(folder / "queries.npy", queries)
        genre = np.arange(ROWS) % GENRES
        for name, rows in ("all", np.arange(ROWS)), ("genre", np.flatnonzero(genre == 3)):
            best = [rows[np.argsort(-(vectors[rows] @ query))[:K]] for query in queries]
            np.save(folder / f"{name}.npy", np.array(best))
        for name in "a.index", "a.lance":
            start = time.perf_counter()
            write_index(folder / name, vectors)
            print(f"{name}: {ROWS:,} x {DIM} written in {time.perf_counter() - start:.0f} s", flush=True)
        del vectors
        for name, step in ("a.index", ""), ("a.lance", ""), ("a.lance", "build"):
            if step:
                subprocess.run([sys.executable, __file__, str(ROWS), "build", str(folder / name)], check=True)
            for where in "all", "genre":
                print(f"{name:<8} {where:<6}", end=" ", flush=True)
                command = [sys.executable, __file__, str(ROWS), where, str(folder / name)]
                subprocess.run(command, check=True)  # each in its own process, as its memory is


if __name__ == "__main__":
    if len(sys.argv) < 4:
        main()
    elif sys.argv[2] == "build":
        build(sys.argv[3])
    else:
        truth = np.load(Path(sys.argv[3]).parent / f"{sys.argv[2]}.npy")
        measure(sys.argv[3], Path(sys.argv[3]).parent, "genre = 3" if sys.argv[2] == "genre" else None, truth)
