"""Embedding captions with an adopted text model, against sentence-transformers' `encode` with the same threads.

Run: python tests/benchmarks/bench_sentences.py FOLDER TEXTS.gz [ROUNDS [THREADS]], where FOLDER is a model as
sentence-transformers saves it and TEXTS.gz has a text a line, such as multi30k/val.en.gz. Both compute in float32, in
turns. CPU seconds are not affected by other programs as much as wall-clock seconds are; they need a single thread.
"""

import gzip
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from figures import record
from sentence_transformers import SentenceTransformer

from jointembed.pretrained.huggingface.adopt import convert_model


def timed(function, texts):
    clock, processor = time.perf_counter(), time.process_time()
    vectors = function(texts)
    return vectors, time.perf_counter() - clock, time.process_time() - processor


def main(folder, file, rounds=3, threads=1):
    torch.set_num_threads(threads)
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        texts = [line.strip() for line in lines if line.strip()]
    peer, space = SentenceTransformer(folder, device="cpu"), convert_model(Path(folder), folder)
    functions = {"sentence-transformers": peer.encode_document, "jointembed": lambda texts: space.embed("text", texts)}
    seconds = {name: [] for name in functions}
    vectors = {}
    for number in range(rounds + 1):
        for name, function in functions.items():
            vectors[name], *took = timed(function, texts if number else texts[:64])  # the first round warms up
            seconds[name] += [took] * bool(number)
    print(f"{len(texts)} texts, {threads} threads, medians of {rounds} rounds in turns")
    print(f"{'':<24}{'texts/s':>9}{'texts/CPU s':>13}")
    for name, took in seconds.items():
        clock, processor = (len(texts) / statistics.median(column) for column in zip(*took, strict=True))
        print(f"{name:<24}{clock:>9.0f}{processor:>13.0f}")
    clocks = {name: [clock for clock, _ in took] for name, took in seconds.items()}
    record(f"embed {len(texts)} texts", clocks.pop("jointembed"), clocks)
    pairs = list(zip(*seconds.values(), strict=True))
    clock, processor = (statistics.median(a[unit] / b[unit] for a, b in pairs) for unit in (0, 1))
    difference = np.abs(vectors["sentence-transformers"] - vectors["jointembed"]).max()
    print(f"ratio {clock:.2f}, of CPU seconds {processor:.2f}; largest difference {difference:.1e}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("give a folder of sentence-transformers and a file of texts")
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
