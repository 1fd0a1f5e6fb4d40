"""Searches beside numpy, FAISS and torch.

Each contender runs in its own process, since their threads disturb each other, and they take turns. The vectors are 10
clusters per thousand rows, of length 1, with a spectrum that falls with the root of its rank, rotated at random.

    python tests/benchmarks/bench_search.py                               # one query at a time, 100,000 rows
    python tests/benchmarks/bench_search.py --rows 1000000 --approximate  # with approximate searches, and commits
    python tests/benchmarks/bench_search.py --rows 1000000 --batches      # 256 queries at once
    python tests/benchmarks/bench_search.py --rows 500000 --dim 26 --batches --queries 20000  # neighbors of everything
    python tests/benchmarks/bench_search.py --rows 5000000 --only jointembed
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from figures import record

K, WARMUP_QUERIES, TIMED_QUERIES, BATCH = 10, 8, 60, 256
COMMITS, ADDED = 8, 1_000
GRAPH, INVERTED_FILE, COMMIT = "jointembed, graph", "jointembed, inverted file", "jointembed, commit"


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

        index = Index.open(folder / ("graph/a.index" if name == GRAPH else "a.index"))
        index.search(vectors[0], K)
        if name == INVERTED_FILE:
            index.build_approximate(kind="ivf")
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


def build_graph(folder):
    """Write a copy of the index with a graph, and print what that took."""
    from jointembed.index.index import Index

    (folder / "graph").mkdir()
    for path in folder.glob("a.index*"):
        shutil.copy(path, folder / "graph")
    with Index.open(folder / "graph/a.index") as index:
        index.search(np.load(folder / "queries.npy")[0], K)
        start = time.perf_counter()
        recall = index.build_approximate()
        seconds = time.perf_counter() - start
    [path] = (folder / "graph").glob("*.hnsw")
    print(f"graph: built in {seconds:.0f} s, recall {recall:.4f} of its own rows, {path.stat().st_size / 2**20:.0f} MB")


def measure_commits(folder):
    """Time commits into a copy of the index with a graph, and print their metrics as JSON."""
    from jointembed.index.index import Index

    rng, vectors = np.random.default_rng(2), np.load(folder / "vectors.npy", mmap_mode="r")
    added = vectors[rng.integers(len(vectors), size=COMMITS * ADDED)]
    added = unit(added + 0.05 * rng.standard_normal(added.shape, dtype=np.float32))
    queries = np.concatenate([np.load(folder / "queries.npy"), random_queries(added, TIMED_QUERIES)])
    with tempfile.TemporaryDirectory(dir=folder) as copy:
        for path in (folder / "graph").glob("a.index*"):
            shutil.copy(path, copy)
        times, searches = [], []
        with Index.open(Path(copy) / "a.index") as index:
            index.search(queries[0], K)
            for start in range(0, len(added), ADDED):
                rows = [{"id": f"new {n}", "title": f"song {n}", "genre": n % 20} for n in range(start, start + ADDED)]
                begin = time.perf_counter()
                index.add(rows, added[start : start + ADDED], "audio")
                times.append(time.perf_counter() - begin)
                begin = time.perf_counter()
                index.search(queries[0], K)
                searches.append(time.perf_counter() - begin)
            ids, (right, _) = index.ids(), index.search_batch(queries, K)
            hits = [[hit.id for hit in index.search(query, K)] for query in queries]
            recall = np.mean([
                len({ids[at] for at in row} & set(near)) / K for row, near in zip(right, hits, strict=True)
            ])  # fmt: skip
    print(json.dumps({"p50": 1000 * np.median(times), "rate": np.nan, "ready": max(times), "recall": recall,
                      "memory": peak_memory(), "first search": 1000 * max(searches)}))  # fmt: skip


def peak_memory():
    """The largest memory of this process, in MB."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def measure(name, folder, batch):
    """Time one contender, and print its metrics as JSON."""
    if name == COMMIT:
        measure_commits(folder)
        return
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    if name.startswith("faiss") and batch == 0:
        import faiss

        faiss.omp_set_num_threads(2)
    search, seconds = contender(name, folder, batch)
    size = batch or 1
    queries = np.load(folder / "queries.npy")  # made elsewhere, so that reading the vectors does not count as memory
    if name.startswith("jointembed"):  # the others have their vectors in memory: bring the files into the page cache
        for path in folder.glob("graph/a.index*" if name == GRAPH else "a.index*"):
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
    memory = peak_memory()
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
    if options.measure and options.measure[0] == "build":
        build_graph(Path(options.measure[1]))
        return
    if options.measure:
        measure(options.measure[0], Path(options.measure[1]), int(options.measure[2]))
        return
    names = ["jointembed", "numpy", "faiss flat", "faiss sq8 + refine"]
    names += [GRAPH, INVERTED_FILE, COMMIT] * options.approximate
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
        if options.approximate:
            command = [sys.executable, __file__, "--measure", "build", temporary, "0"]
            subprocess.run(command, check=True)
        runs = {name: [] for name in names}
        for _ in range(options.rounds):
            for name in names:
                command = [sys.executable, __file__, "--measure", name, temporary, str(BATCH * options.batches)]
                process = subprocess.run(command, capture_output=True, text=True, check=False)
                if process.returncode:
                    sys.exit(process.stderr)
                runs[name].append(json.loads(process.stdout))
    times = {name: [result["p50"] for result in results] for name, results in runs.items() if name != COMMIT}
    if ours := times.pop("jointembed", None):
        size = f"{BATCH} queries" if options.batches else "one query"
        record(f"{size}, {options.rows:,} x {options.dim}", ours, times, "ms")
    print(f"{'':<26}{'p50, ms':>10}{'queries/s':>12}{'recall@10':>11}{'ready, s':>10}{'memory, MB':>12}")
    for name, results in runs.items():
        metrics = {
            key: np.median([result[key] for result in results if result[key] is not None] or [np.nan])
            for key in results[0]
        }
        columns = f"{metrics['p50']:>10.3f}{metrics['rate']:>12.0f}{metrics['recall']:>11.3f}{metrics['ready']:>10.2f}"
        print(f"{name:<26}{columns}{metrics['memory']:>12.0f}")
        if name == COMMIT:
            print(
                f"(p50 of {COMMITS} commits of {ADDED:,} rows, the slowest as ready, and the recall of new and old rows"
            )
            print(f"after them; the slowest first search after a commit took {metrics['first search']:.0f} ms)")


if __name__ == "__main__":
    main()
