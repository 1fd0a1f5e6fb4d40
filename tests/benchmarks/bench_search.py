"""How long one search takes beside the bare product and argpartition: `python tests/benchmarks/bench_search.py`."""

import tempfile
import time
from pathlib import Path

import numpy as np

from jointembed.find.index import Index

DIM, K, ROUNDS = 128, 10, 41


def bare(vectors, query):
    scores = vectors @ query
    best = np.argpartition(-scores, K)[:K]
    return best[np.argsort(-scores[best])]


def main():
    rng = np.random.default_rng(0)
    print(f"{'rows':>8} {'search':>10} {'numpy':>10}   p50 in ms, {DIM} dimensions, k = {K}")
    for count in (10_000, 100_000):
        vectors = rng.standard_normal((count, DIM), np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        with tempfile.TemporaryDirectory() as folder, Index.create(Path(folder) / "a.index", DIM, "cosine") as index:
            rows = [{"id": str(at), "title": f"song {at}", "genre": "waltz"} for at in range(count)]
            index.add(rows, vectors, "audio")
            times = np.empty((ROUNDS, 2))
            for turn in range(ROUNDS):
                query = vectors[rng.integers(count)]
                began = time.perf_counter()
                hits = index.search(query, K)
                between = time.perf_counter()
                best = bare(vectors, query)
                times[turn] = between - began, time.perf_counter() - between
                assert [int(hit.id) for hit in hits] == best.tolist()
        search, numpy = 1000 * np.median(times, 0)
        print(f"{count:>8,} {search:>10.2f} {numpy:>10.2f}")


if __name__ == "__main__":
    main()
