"""Searches beside numpy, FAISS and torch: `python tests/benchmarks/bench_search.py [--rows 100000] [--batches]`.

Each contender runs in a process of its own, since their threads disturb each other, and they take turns. The vectors
are 10 clusters in a thousand rows, of length 1, with a spectrum that falls with the root of its rank, turned at random.

    python tests/benchmarks/bench_search.py                          # one query at a time, 100,000 rows
    python tests/benchmarks/bench_search.py --rows 1000000 --graph   # with the approximate graph
    python tests/benchmarks/bench_search.py --rows 1000000 --batches # 256 queries at once
    python tests/benchmarks/bench_search.py --rows 500000 --dim 26 --batches --asked 20000   # neighbours of everything
    python tests/benchmarks/bench_search.py --rows 5000000 --only ours
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

K, WARM, ROUNDS = 10, 8, 60


def vectors(count, dim, seed=0):
    rng = np.random.default_rng(seed)
    spectrum = (np.arange(1, dim + 1) ** -0.5).astype(np.float32)
    turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)
    centres = rng.standard_normal((max(10, count // 100), dim), dtype=np.float32) * spectrum
    made = np.empty((count, dim), np.float32)
    for at in range(0, count, 100_000):
        size = min(100_000, count - at)
        part = centres[rng.integers(len(centres), size=size)]
        part += 0.5 * spectrum * rng.standard_normal((size, dim), dtype=np.float32)
        made[at : at + size] = part @ turn
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def queries(values, count):
    rng = np.random.default_rng(1)
    some = values[rng.integers(len(values), size=count)]
    some = some + 0.02 * rng.standard_normal(some.shape, dtype=np.float32)
    return some / np.linalg.norm(some, axis=1, keepdims=True)


def filled(path, values):
    from jointembed.index.index import Index

    with Index.create(path, values.shape[1], "cosine") as index:
        for at in range(0, len(values), 50_000):
            part = values[at : at + 50_000]
            rows = [{"id": str(at + n), "title": f"song {at + n}", "genre": (at + n) % 20} for n in range(len(part))]
            index.add(rows, part, "audio")


def contender(name, folder, batch):
    """A function from queries (B, D) to places (B, K), and the seconds that its making took."""
    values = np.load(folder / "values.npy", mmap_mode=None if name.startswith(("numpy", "torch", "faiss")) else "r")
    began = time.perf_counter()
    if name.startswith("ours"):
        if name == "ours with torch":
            import torch  # noqa: F401
        from jointembed.index.index import Index

        index = Index.open(folder / "a.index")
        index.search(values[0], K)
        opened = time.perf_counter() - began
        if name == "ours by graph":
            print(f"recall {index.build_approximate():.3f}", file=sys.stderr)
            opened = time.perf_counter() - began
        if batch:
            return lambda asked: index.search_batch(asked, K)[0], opened
        return lambda asked: np.array([[int(hit.id) for hit in index.search(asked[0], K)]]), opened
    if name == "numpy":

        def product(asked):
            scores = asked @ values.T
            best = np.argpartition(-scores, K, 1)[:, :K]
            return np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), 1), 1)

        return product, 0.0
    if name == "product alone":

        def alone(asked):
            turned = np.ascontiguousarray(asked.T)
            for at in range(0, len(values), 2_048):
                values[at : at + 2_048] @ turned
            return None

        return alone, 0.0
    if name == "torch":
        import torch

        held = torch.from_numpy(values)
        return lambda asked: (torch.from_numpy(asked) @ held.T).topk(K).indices.numpy(), 0.0
    import faiss

    if name == "faiss flat":
        index = faiss.IndexFlatIP(values.shape[1])
    else:
        index = faiss.IndexRefineFlat(faiss.index_factory(values.shape[1], "SQ8", faiss.METRIC_INNER_PRODUCT))
        index.k_factor = 4
    index.train(values)
    index.add(values)
    return lambda asked: index.search(asked, K)[1], time.perf_counter() - began


def work(name, folder, batch):
    """Time one contender and print its figures as JSON."""
    values = np.load(folder / "values.npy", mmap_mode="r")
    if name.startswith("faiss") and batch == 0:
        import faiss

        faiss.omp_set_num_threads(2)
    search, made = contender(name, folder, batch)
    size = batch or 1
    wanted = np.load(folder / "queries.npy")  # made elsewhere: what was read of the vectors would count as memory
    if name.startswith("ours"):  # the others' vectors are in memory; what the system let go of is read again
        for path in folder.glob("a.index*"):
            with open(path, "rb", buffering=0) as file:
                while file.read(2**20):
                    pass
    times, answers = [], []
    for at in range(0, len(wanted) - size + 1, size):
        began = time.perf_counter()
        found = search(wanted[at : at + size])
        times.append(time.perf_counter() - began)
        answers.append(found)
    # Before the check, which touches all vectors.
    memory = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    right = []
    for at, found in enumerate(answers):
        if found is not None:
            exact = np.argpartition(-(np.asarray(values) @ wanted[at * size]), K)[:K]
            right.append(len(set(exact.tolist()) & set(found[0].tolist())) / K)
    times = times[WARM:] if not batch else times[1:]
    print(json.dumps({"p50": 1000 * float(np.median(times)), "rate": size / float(np.median(times)), "made": made,
                      "recall": float(np.mean(right)) if right else None, "memory": memory}))  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--batches", action="store_true")
    parser.add_argument("--graph", action="store_true")
    parser.add_argument("--asked", type=int, default=0)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(given.work[0], Path(given.work[1]), int(given.work[2]))
        return
    names = ["ours", "numpy", "faiss flat", "faiss sq8 + refine"] + ["ours by graph"] * given.graph
    if given.batches:
        names = ["ours", "ours with torch", "product alone", "torch", "faiss flat"]
    names = [name for name in names if given.only in name]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        values = vectors(given.rows, given.dim)
        np.save(folder / "values.npy", values)
        np.save(folder / "queries.npy", queries(values, given.asked or (4 * 256 if given.batches else WARM + ROUNDS)))
        began = time.perf_counter()
        filled(folder / "a.index", values)
        took = time.perf_counter() - began
        print(f"{given.rows:,} x {given.dim}, {values.nbytes / 2**20:.0f} MB; filled in {took:.0f} s")
        del values
        told = {name: [] for name in names}
        for _ in range(given.turns):
            for name in names:
                words = ["--work", name, place, "256" if given.batches else "0"]
                done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=False)
                if done.returncode:
                    sys.exit(done.stderr)
                told[name].append(json.loads(done.stdout))
    print(f"{'':<20}{'p50, ms':>10}{'queries/s':>12}{'recall@10':>11}{'ready, s':>10}{'memory, MB':>12}")
    for name, runs in told.items():
        one = {key: np.median([run[key] for run in runs if run[key] is not None] or [np.nan]) for key in runs[0]}
        figures = f"{one['p50']:>10.2f}{one['rate']:>12.0f}{one['recall']:>11.3f}{one['made']:>10.2f}"
        print(f"{name:<20}{figures}{one['memory']:>12.0f}")


if __name__ == "__main__":
    main()
