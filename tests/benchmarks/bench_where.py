"""Conditions and words over an index: `python tests/benchmarks/bench_where.py [ROWS]`.

Medians in ms of CPU time. `first` is the first time that a newly opened index answers, when it reads the columns of the
condition; `again` is every later time.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from jointembed.index.index import Index

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
ROUNDS = 7
CONDITIONS = [
    "genre = 'waltz'",
    "tempo > 200",
    "tags = 'w3'",
    "artist = 'Artist 77'",
    "title like '%w1 %'",
    "year is not null",
    "genre = 'waltz' and (tempo > 120 or artist like 'A%')",
]


def timed(function, *arguments):
    start = time.process_time()
    function(*arguments)
    return 1000 * (time.process_time() - start)


def write_index(path):
    rng = np.random.default_rng(0)
    frequencies = 1 / np.arange(1, 5001)
    vocabulary = np.array([f"w{n}" for n in range(5000)])
    words = vocabulary[rng.choice(5000, (COUNT, 12), p=frequencies / frequencies.sum())]
    rows = [
        {
            "id": f"s{at}",
            "title": " ".join(words[at, :4]),
            "artist": f"Artist {at // 7}",
            "genre": ["waltz", "polka", "reel", "jig"][at % 4],
            "tempo": 60 + at / 3,
            "year": 1900 + at % 120,
            "tags": words[at, 4:8].tolist(),
            "note": " ".join(words[at]) + " the",
        }
        for at in range(COUNT)
    ]
    with Index.create(path, 2, "euclidean") as index:
        index.add(rows, rng.standard_normal((COUNT, 2)).astype(np.float32), "audio")


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.index"
        write_index(path)
        print(f"{f'{COUNT:,} rows, medians of {ROUNDS}':<58}{'first':>9}{'again':>9}")
        for where in CONDITIONS:
            with Index.open(path) as index:
                index.count()  # the vectors
                first = timed(index.count, where)
                again = statistics.median(timed(index.count, where) for _ in range(ROUNDS))
            print(f"{where:<58}{first:>9.1f}{again:>9.1f}", flush=True)
        print(f"{'':<58}{'1000 best':>9}{'10 best':>9}")
        with Index.open(path) as index:
            index.search_text("w1")
            for words in ("the", "w1", "w0 w1", "w3000"):
                many, few = (
                    statistics.median(timed(index.search_text, words, k) for _ in range(ROUNDS)) for k in (1000, 10)
                )
                print(f"{'words: ' + words:<58}{many:>9.1f}{few:>9.1f}", flush=True)


if __name__ == "__main__":
    main()
