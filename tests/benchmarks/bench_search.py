"""Searches beside numpy, FAISS and torch.

Each contender runs in its own process, since their threads disturb each other, and they take turns. The vectors are 10
clusters per thousand rows, of length 1, with a spectrum that falls with the root of its rank, rotated at random.

    python tests/benchmarks/bench_search.py                               # one query at a time, 100,000 rows
    python tests/benchmarks/bench_search.py --rows 1000000 --approximate  # with the approximate index
    python tests/benchmarks/bench_search.py --rows 1000000 --batches      # 256 queries at once
    python tests/benchmarks/bench_search.py --rows 500000 --dim 26 --batches --queries 20000  # neighbors of everything
    python tests/benchmarks/bench_search.py --rows 5000000 --only jointembed
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

K, WARMUP_QUERIES, TIMED_QUERIES, BATCH = 10, 8, 60, 256


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def random_vectors(count, dim, seed=0):
    rng = np.random.default_rng(seed)
    spectrum = (np.arange(1, dim + 1) ** -0.5).astype(np.float32)
    rotation = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)
    centers = rng.standard_normal((max(10, count // 100), dim), dtype=np.float32) * spectrum
    vectors = np.empty((count, dim), np.float32)
    for start in range(0, count, 100_000):
        size = min(100_000, count - start)
        part = centers[rng.integers(len(centers), size=size)]
        part += 0.5 * spectrum * rng.standard_normal((size, dim), dtype=np.float32)
        vectors[start : start + size] = part @ rotation
    return unit(vectors)


def random_queries(vectors, count):
    rng = np.random.default_rng(1)
    sample = vectors[rng.integers(len(vectors), size=count)]
    return unit(sample + 0.02 * rng.standard_normal(sample.shape, dtype=np.float32))


def write_index(path, vectors):
    from jointembed.index.index import Index

    with Index.create(path, vectors.shape[1], "cosine") as index:
        for start in range(0, len(vectors), 50_000):
            part = vectors[start : start + 50_000]
            rows = [{"id": str(n), "title": f"song {n}", "genre": n % 20} for n in range(start, start + len(part))]
            index.add(rows, part, "audio")


def contender(name, folder, batch):
    """Return a function from queries (B, D) to positions (B, K), and the seconds to prepare it."""
    in_memory = name.startswith(("numpy", "torch", "faiss"))
    vectors = np.load(folder / "vectors.npy", mmap_mode=None if in_memory else "r")
    start = time.perf_counter()
    if name.startswith("jointembed"):
        from jointembed.index.index import Index

        torch = None
        if name == "jointembed, bfloat16":
            import torch

        index = Index.open(folder / "a.index")
        index.search(vectors[0], K)
        if name == "jointembed, approximate":
            print(f"recall {index.build_approximate():.3f}", file=sys.stderr)
        seconds = time.perf_counter() - start
        if batch:
            return lambda queries: index.search_batch(queries, K, torch=torch)[0], seconds
        return lambda queries: np.array([[int(hit.id) for hit in index.search(queries[0], K)]]), seconds
    if name == "numpy":

        def multiply(queries):
            scores = queries @ vectors.T
            best = np.argpartition(-scores, K, 1)[:, :K]
            return np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), 1), 1)

        return multiply, 0.0
    if name == "product alone":

        def multiply_only(queries):
            columns = np.ascontiguousarray(queries.T)
            for at in range(0, len(vectors), 2_048):
                vectors[at : at + 2_048] @ columns
            return None

        return multiply_only, 0.0
    if name == "torch":
        import torch

        tensor = torch.from_numpy(vectors)
        return lambda queries: (torch.from_numpy(queries) @ tensor.T).topk(K).indices.numpy(), 0.0
    import faiss

    if name == "faiss flat":
        index = faiss.IndexFlatIP(vectors.shape[1])
    else:
        index = faiss.IndexRefineFlat(faiss.index_factory(vectors.shape[1], "SQ8", faiss.METRIC_INNER_PRODUCT))
        index.k_factor = 4
    index.train(vectors)
    index.add(vectors)
    return lambda queries: index.search(queries, K)[1], time.perf_counter() - start


def measure(name, folder, batch):
    """Time one contender, and print its metrics as JSON."""
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    if name.startswith("faiss") and batch == 0:
        import faiss

        faiss.omp_set_num_threads(2)
    search, seconds = contender(name, folder, batch)
    size = batch or 1
    queries = np.load(folder / "queries.npy")  # made elsewhere, so that reading the vectors does not count as memory
    if name.startswith("jointembed"):  # the others have their vectors in memory: bring the files into the page cache
        for path in folder.glob("a.index*"):
            with open(path, "rb", buffering=0) as file:
                while file.read(2**20):
                    pass
    times, answers = [], []
    for at in range(0, len(queries) - size + 1, size):
        start = time.perf_counter()
        positions = search(queries[at : at + size])
        times.append(time.perf_counter() - start)
        answers.append(positions)
    # Before the recall, which reads all vectors.
    memory = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    recalls = []
    for at, positions in enumerate(answers):
        if positions is not None:
            exact = np.argpartition(-(np.asarray(vectors) @ queries[at * size]), K)[:K]
            recalls.append(len(set(exact.tolist()) & set(positions[0].tolist())) / K)
    median = float(np.median(times[1:] if batch else times[WARMUP_QUERIES:]))
    recall = float(np.mean(recalls)) if recalls else None
    print(json.dumps({"p50": 1000 * median, "rate": size / median, "ready": seconds, "recall": recall,
                      "memory": memory}))  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--batches", action="store_true")
    parser.add_argument("--approximate", action="store_true")
    parser.add_argument("--queries", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure[0], Path(options.measure[1]), int(options.measure[2]))
        return
    names = ["jointembed", "numpy", "faiss flat", "faiss sq8 + refine"]
    names += ["jointembed, approximate"] * options.approximate
    if options.batches:
        names = ["jointembed", "jointembed, bfloat16", "product alone", "torch", "faiss flat"]
    names = [name for name in names if options.only in name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        vectors = random_vectors(options.rows, options.dim)
        np.save(folder / "vectors.npy", vectors)
        count = options.queries or (4 * BATCH if options.batches else WARMUP_QUERIES + TIMED_QUERIES)
        np.save(folder / "queries.npy", random_queries(vectors, count))
        start = time.perf_counter()
        write_index(folder / "a.index", vectors)
        seconds = time.perf_counter() - start
        print(f"{options.rows:,} x {options.dim}, {vectors.nbytes / 2**20:.0f} MB; written in {seconds:.0f} s")
        del vectors
        runs = {name: [] for name in names}
        for _ in range(options.rounds):
            for name in names:
                command = [sys.executable, __file__, "--measure", name, temporary, str(BATCH * options.batches)]
                process = subprocess.run(command, capture_output=True, text=True, check=False)
                if process.returncode:
                    sys.exit(process.stderr)
                runs[name].append(json.loads(process.stdout))
    print(f"{'':<24}{'p50, ms':>10}{'queries/s':>12}{'recall@10':>11}{'ready, s':>10}{'memory, MB':>12}")
    for name, results in runs.items():
        metrics = {
            key: np.median([result[key] for result in results if result[key] is not None] or [np.nan])
            for key in results[0]
        }
        columns = f"{metrics['p50']:>10.2f}{metrics['rate']:>12.0f}{metrics['recall']:>11.3f}{metrics['ready']:>10.2f}"
        print(f"{name:<24}{columns}{metrics['memory']:>12.0f}")


if __name__ == "__main__":
    main()
