"""500,000 ids: a sampled training step against torch's full softmax, and the chunked exact softmax against
F.cross_entropy.

Times are CPU times of one thread, medians of both in turns. Memory is measured in another process, as the growth after
the tables are created. Last, the recall of planted neighbors after equally long training on a tenth of the ids, and
after equally many steps on a hundredth.

Run: python tests/benchmarks/bench_catalogue.py [--quick]
"""

import argparse
import json
import runpy
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from figures import record
from torch import nn
from torch.nn import functional as F

from jointembed import Category, EmbeddingBag, JointEmbedding, Match, Ragged
from jointembed.objectives import cross_entropy
from jointembed.training import optim

PREPARE = Path(__file__).parents[2] / "recipes" / "catalogue" / "prepare.py"
ROWS, DIM, HISTORY, SAMPLES = 512, 64, 7, 512


class Torch(nn.Module):
    """A full softmax in plain torch: the mean of the history's vectors against all vectors."""

    def __init__(self, items):
        super().__init__()
        self.table = nn.EmbeddingBag(items, DIM, mode="mean")
        nn.init.normal_(self.table.weight, std=DIM**-0.5)
        self.scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    def forward(self, history, item):
        logits = F.normalize(self.table(history)) @ F.normalize(self.table.weight).T * self.scale.exp()
        return F.cross_entropy(logits, item)


def full(items, lr=0.01):
    """Return a step of the full softmax with Adam, and its table."""
    module = Torch(items)
    optimizer = torch.optim.Adam(module.parameters(), lr, fused=True)

    def step(ids):
        optimizer.zero_grad()
        module(ids[:, :-1], ids[:, -1]).backward()
        optimizer.step()

    return step, module.table.weight


def sampled(items, counts, sparse_lr=0.1):
    """A step of `Match(history, item, candidates: 512)` with the optimizer of `fit`, and its table."""
    reader = Category()
    space = JointEmbedding(
        DIM, {"item": EmbeddingBag(reader)}, [Match("history", "item", SAMPLES)], {"history": "item", "item": "item"}
    )
    reader.restore({"ids": [str(number) for number in range(items)], "counts": counts.tolist()})
    space.configure_model()
    optimizer = optim.AdamWWithSparseAdagrad(optim.parameter_groups(space), sparse_lr=sparse_lr)

    def step(ids):
        rows = torch.arange(len(ids))
        history = Ragged(ids[:, :-1].flatten(), rows.repeat_interleave(ids.shape[1] - 1), rows)
        optimizer.zero_grad()
        losses = space.losses({"history": history, "item": Ragged(ids[:, -1], rows, rows)})
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()

    return step, space.space.encoders["item"].table.weight


def skewed(items):
    """Return how often each id occurs, and batches of ids with these frequencies."""
    rng = np.random.default_rng(0)
    counts = np.ceil(1e6 / (np.arange(items) + 100)).astype(np.int64)
    cumulative = (counts / counts.sum()).cumsum()
    ids = np.searchsorted(cumulative, rng.random((20, ROWS, HISTORY + 1))).clip(max=items - 1)
    return counts, torch.from_numpy(ids)


def exact(a, b, target):
    cross_entropy.exact(a, b, target, a.new_full((len(a),), 1 / len(a))).backward()


def plain(a, b, target):
    F.cross_entropy(a @ b.T, target).backward()


def job(name, items):
    """Return the function to measure."""
    if name in ("sampled", "full"):
        counts, batches = skewed(items)
        step, _ = sampled(items, counts) if name == "sampled" else full(items)
        at = iter(range(10**9))
        return lambda: step(batches[next(at) % len(batches)])
    rng = torch.Generator().manual_seed(0)
    a = torch.randn(ROWS, DIM, generator=rng).requires_grad_()
    b = torch.randn(items, DIM, generator=rng).mul_(0.3).requires_grad_()
    target = torch.randint(items, (ROWS,), generator=rng)

    def work():
        a.grad = b.grad = None
        (exact if name == "exact" else plain)(a, b, target)

    return work


def peak_growth(name, items, times):
    """Return the megabytes by which this process grows at most while it works."""
    work = job(name, items)
    before = resident("VmRSS")
    for _ in range(times):
        work()
    return resident("VmHWM") - before


def resident(word):
    """Return the megabytes of this process in memory, now or at most. (`getrusage` counts those of its parent too.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(word)) * 1024 / 1e6


def memory(name, items, times):
    command = [sys.executable, __file__, "--memory", name, "--items", str(items), "--times", str(times)]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def compare(ours, theirs, rounds, repeats):
    """Return the seconds of two jobs in each round, measured in turns, the first one `repeats` times."""
    pairs = []
    ours(), theirs()
    for _ in range(rounds):
        pair = []
        for work, times in ((ours, repeats), (theirs, 1)):
            start = time.process_time()
            for _ in range(times):
                work()
            pair.append((time.process_time() - start) / times)
        pairs.append(pair)
    return pairs


def recall_at_10(table, catalogue, queries, pool):
    """Return the share of planted neighbors among the ten nearest of the pool."""
    z = F.normalize(table.detach())
    scores = z[torch.from_numpy(queries)] @ z[torch.from_numpy(pool)].T
    best = pool[scores.topk(11).indices.numpy()]
    truth = catalogue.neighbours(queries, pool)
    return np.mean([
        len(set(near[near != own][:10]) & set(right)) / 10
        for own, near, right in zip(queries, best, truth, strict=True)
    ])  # fmt: skip


def train_both(items, seconds, max_steps):
    """Return the recall of planted neighbors by both after some time or number of steps, and the steps."""
    catalogue = runpy.run_path(str(PREPARE))["Catalogue"](items, 0)
    histories = catalogue.histories(4 * items, HISTORY + 1)
    counts = np.bincount(histories.ravel(), minlength=items)
    pool = np.flatnonzero(counts >= 40)
    queries = np.random.default_rng(0).permutation(pool)[:1000]
    results = []
    for name in ("sampled", "full"):
        torch.manual_seed(0)
        step, table = sampled(items, counts) if name == "sampled" else full(items)
        rng, start, steps = np.random.default_rng(1), time.process_time(), 0
        while steps < max_steps and time.process_time() - start < seconds:
            step(torch.from_numpy(histories[rng.integers(len(histories), size=ROWS)]))
            steps += 1
        results.append((recall_at_10(table, catalogue, queries, pool), steps))
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the ids, a few rounds")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    parser.add_argument("--items", type=int, default=500_000)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    if options.memory:
        torch.set_num_threads(1)
        print(json.dumps(peak_growth(options.memory, options.items, options.times)))
        return
    torch.set_num_threads(1)  # so that CPU time is comparable on a busy machine
    items = 50_000 if options.quick else options.items
    print(f"{items:,} ids, {ROWS} rows, {DIM} dimensions, one thread")
    print(f"{'':<38}{'ours ms':>9}{'torch ms':>10}{'ratio':>8}{'ours MB':>9}{'torch MB':>10}{'ratio':>7}")
    for ours, theirs, repeats, name in (
        ("sampled", "full", 50, "step with 512 samples / full softmax"),
        ("exact", "plain", 1, "cross entropy, chunked / whole"),
    ):
        pairs = compare(job(ours, items), job(theirs, items), 2 if options.quick else 3, repeats)
        a, b = (statistics.median(pair[at] for pair in pairs) for at in (0, 1))
        ratio = statistics.median(b / a for a, b in pairs)
        record(f"{name}, {items:,} ids", [pair[0] for pair in pairs], {"torch": [pair[1] for pair in pairs]})
        x, y = (memory(name, items, 50 if name == "sampled" else 2) for name in (ours, theirs))
        ratio = f"{ratio:>7.0f}x" if repeats > 1 else f"{1 / ratio:>8.2f}"
        print(f"{name:<38}{a * 1e3:>9.1f}{b * 1e3:>10.1f}{ratio}{x:>9.0f}{y:>10.0f}{x / y:>7.3f}", flush=True)
    for few, budget, steps in ((items // 10, 2 if options.quick else 20, 10**9), (items // 100, 10**9, 200)):
        (ours, fast), (theirs, slow) = train_both(few, budget, steps)
        print(f"{few:,} ids, recall@10 of planted neighbors: {ours:.3f} after {fast} sampled steps, {theirs:.3f} "
              f"after {slow} full ones; ratio {ours / max(theirs, 1e-9):.2f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
