"""`jointembed cluster` of 100,000 x 128 on one core: seconds and peak memory.

Run: OMP_NUM_THREADS=1 python tests/benchmarks/bench_cluster.py [ITEMS]

Items lie about 30 centers with as much noise as distance; each row has a genre, which is right for 82 % of them, a
tempo, two tags, a title, a caption and one of 5,000 artists.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from jointembed.index.index import Index

COUNT, DIM, CENTERS = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, 128, 30
TAGS = np.array(["slow", "sad", "loud", "fast", "piano", "drums", "live", "old"])


def write_index(path):
    rng = np.random.default_rng(0)
    centers, truth = rng.standard_normal((CENTERS, DIM)), rng.integers(CENTERS, size=COUNT)
    genres = np.where(rng.random(COUNT) < 0.8, truth, rng.integers(CENTERS, size=COUNT))
    with Index.create(path, DIM, "cosine") as index:
        for start in range(0, COUNT, 10_000):
            part = truth[start : start + 10_000]
            vectors = (centers[part] + rng.standard_normal((len(part), DIM))).astype(np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            rows = [
                {"id": f"s{n}", "genre": f"genre {genres[n]}", "tempo": int(60 + 4 * truth[n] + 8 * rng.normal()),
                 "tags": rng.choice(TAGS, 2).tolist(), "title": f"Song {n}", "artist": f"artist {rng.integers(5000)}",
                 "caption": f"a {TAGS[n % 8]} song with {TAGS[n // 8 % 8]} sounds, number {n}"}
                for n in range(start, start + len(part))
            ]  # fmt: skip
            index.add(rows, vectors, "audio")


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "songs.index"
        write_index(path)
        for options in ([], ["--k", "20"], ["--k", "200"]):
            command = [sys.executable, "-m", "jointembed", "cluster", str(path), *options, "--compare-to", "genre"]
            command += ["--plot", f"{folder}/a.png", "--output-column", "cluster"]
            before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            ami = next(line for line in out.splitlines() if line.startswith("ami"))
            print(f"{' '.join(options) or 'no --k':8} {time.perf_counter() - start:5.1f} s, {cpu:5.1f} s of CPU time,")
            print(f"         at most {after.ru_maxrss / 1024:.0f} MiB so far; {ami}; {out.splitlines()[0]}")


if __name__ == "__main__":
    main()
