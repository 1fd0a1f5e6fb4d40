"""EmbeddingBag over active pixels or ids against a dense Linear, and row-wise Adagrad against Adam on a wide table.

Run: python tests/benchmarks/bench_bag.py
"""

import statistics
import time

import numpy as np
import torch
from figures import record
from torch import nn

from jointembed import Category, EmbeddingBag, Ragged, SparseImage
from jointembed.training import optim


def timed(name, ours, theirs, rounds=7, steps=30):
    """Print the median milliseconds per step of two functions, measured in turns, and the median of their ratios."""
    pairs = []
    for _ in range(rounds):
        durations = []
        for work in (ours, theirs):
            work()
            start = time.perf_counter()
            for _ in range(steps):
                work()
            durations.append((time.perf_counter() - start) / steps)
        pairs.append(durations)
    times = list(zip(*pairs, strict=True))
    record(name, times[0], {"torch": times[1]})
    a, b = map(statistics.median, times)
    ratio = statistics.median(x / y for x, y in pairs)
    print(f"{name:<52}{a * 1e3:>9.2f}{b * 1e3:>10.2f}{ratio:>8.3f}")


def training(module, optimizer, make):
    def step():
        optimizer.zero_grad()
        make(module).square().mean().backward()
        optimizer.step()

    return step


def narrow(share, batch=256, width=512):
    rng = np.random.default_rng(0)
    dense = torch.from_numpy(((rng.random((batch, 784)) < share) * rng.random((batch, 784))).astype(np.float32))
    reader = SparseImage([28, 28])
    x = reader.encode(list(dense.numpy()))
    bag = EmbeddingBag(reader, width)
    bag.build(width)
    linear = nn.Linear(784, width, bias=False)
    ours = training(bag, torch.optim.Adam(bag.parameters()), lambda module: module(x))
    theirs = training(linear, torch.optim.Adam(linear.parameters()), lambda module: module(dense))
    timed(f"784 -> {width}, {share:.0%} active, against Linear + Adam", ours, theirs)


def to_float32(rows=500_000, active=50, batch=128, width=64):
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.integers(0, rows, batch * active))
    owners = torch.arange(batch).repeat_interleave(active)
    x = Ragged(values, owners, torch.arange(batch))
    reader = Category()
    reader.size = rows
    bag = EmbeddingBag(reader, width)
    bag.build(width)
    plain = nn.EmbeddingBag(rows, width, mode="mean")
    starts = torch.arange(0, batch * active, active)
    ours = training(bag, optim.AdamWWithSparseAdagrad(optim.parameter_groups(bag)), lambda module: module(x))
    theirs = training(plain, torch.optim.Adam(plain.parameters()), lambda module: module(values, starts))
    name = f"{rows:,} x {width}, {active} active, against EmbeddingBag + Adam"
    timed(name, ours, theirs, rounds=5, steps=3)


def main():
    print(f"{'forward + backward + optimiser':<52}{'ours ms':>9}{'other ms':>10}{'ratio':>8}")
    for share in (0.05, 0.1, 0.19, 0.3, 0.5):
        narrow(share)
    to_float32()


if __name__ == "__main__":
    main()
