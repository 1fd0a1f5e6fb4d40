"""Conditions by their SQL and by columns taken apart, and words: `python tests/benchmarks/bench_where.py [ROWS]`.

Medians of alternating rounds, in ms of the processor's time. `first` is the time in which the columns of a condition
are taken apart, once for each commit.
"""

import statistics
import sys
import tempfile
import time

import numpy as np

from jointembed.index.index import Index
from jointembed.index.metadata import Filter
from jointembed.index.where import parse

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


def timed(function, *what):
    begun = time.process_time()
    function(*what)
    return 1000 * (time.process_time() - begun)


def filled(path):
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, 5001)
    words = np.array([f"w{at}" for at in range(5000)])[rng.choice(5000, (COUNT, 12), p=share / share.sum())]
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
    index = Index.create(path, 2, "euclidean")
    index.add(rows, rng.standard_normal((COUNT, 2)).astype(np.float32), "audio")
    return index


def main():
    print(f"{COUNT:,} rows, medians of {ROUNDS}{'':>26}{'SQL':>9}{'apart':>9}{'first':>9}")
    with tempfile.TemporaryDirectory() as folder, filled(f"{folder}/a.index") as index, index.reading() as db:
        for where in CONDITIONS:
            condition = parse(where, index.meta()["columns"])
            rows, times = Filter(), {"SQL": [], "apart": []}
            rows.meet(db, condition)
            first = timed(rows.meet, db, condition)
            for _ in range(ROUNDS):
                times["SQL"].append(timed(Filter().meet, db, condition))
                times["apart"].append(timed(rows.meet, db, condition))
            sql, apart = (statistics.median(one) for one in times.values())
            print(f"{where:<58}{sql:>9.1f}{apart:>9.1f}{first:>9.0f}", flush=True)
        index.search_text("w1")
        print(f"{'':<58}{'all':>9}{'best 10':>9}")
        for words in ("the", "w1", "w0 w1", "w3000"):
            times = {"all": [], "best": []}
            for _ in range(ROUNDS):
                times["all"].append(timed(index._text.find, words))
                times["best"].append(timed(index._text.find, words, 10))
            every, best = (statistics.median(one) for one in times.values())
            print(f"{'words: ' + words:<58}{every:>9.1f}{best:>9.1f}", flush=True)


if __name__ == "__main__":
    main()
