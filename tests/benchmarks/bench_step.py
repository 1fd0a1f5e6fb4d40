"""A training step under Lightning against the same step in a plain loop, and the cost of collating batches.

Run: python tests/benchmarks/bench_step.py
"""

import statistics
import tempfile
import time
import warnings

import lightning
import numpy as np
import torch
from figures import record

from jointembed import Category, ConvNet, EmbeddingBag, JointEmbedding, Match, SparseImage, TableData

warnings.filterwarnings("ignore")


class Clock(lightning.Callback):
    """Records when each training batch starts."""

    def __init__(self):
        self.times = []

    def on_train_batch_start(self, *_):
        self.times.append(time.perf_counter())


def bitmaps(count):
    rng = np.random.default_rng(0)
    lit = rng.random((count, 784)) < 0.19
    grey = (lit * rng.integers(1, 256, (count, 784))).astype(np.uint8)
    return [{"id": str(n), "split": "train", "bitmap": grey[n], "digit": str(n % 10)} for n in range(count)]


def model():
    torch.manual_seed(0)
    encoders = {
        "bitmap": ConvNet(SparseImage([28, 28]), [16, 32, 64], 64, axis=None),
        "digit": EmbeddingBag(Category()),
    }
    return JointEmbedding(16, encoders, [Match("bitmap", "digit", "all")])


def trainer(steps, clock):
    return lightning.Trainer(
        max_epochs=-1,
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[clock],
        default_root_dir=tempfile.gettempdir(),
    )


def main(steps=150, rounds=5):
    data = TableData(bitmaps(20_000), batch_size=256)
    clocks = []
    for _ in range(rounds):
        clock, space = Clock(), model()
        trainer(steps, clock).fit(space, data)
        under = statistics.median(np.diff(clock.times[20:]))
        space.train()
        optimizer = space.configure_optimizers()["optimizer"]
        times = []
        for step, batch in enumerate(data.train_dataloader()):
            optimizer.zero_grad()
            torch.stack(list(space.losses(batch).values())).sum().backward()
            optimizer.step()
            times.append(time.perf_counter())
            if step == steps:
                break
        clocks.append((under, statistics.median(np.diff(times[20:]))))
    ours, bare = zip(*clocks, strict=True)
    record("training step, MNIST-like, 256 rows", ours, {"plain loop": bare})
    ratio = statistics.median(under / bare for under, bare in clocks)
    print(f"{'training step':<40}{'Lightning ms':>14}{'bare ms':>10}{'ratio':>8}")
    under, bare = (1000 * statistics.median(pair[place] for pair in clocks) for place in (0, 1))
    print(f"{'MNIST-like, 256 rows, convolutions':<40}{under:>14.1f}{bare:>10.1f}{ratio:>8.3f}")

    x = SparseImage([28, 28]).encode([row["bitmap"] for row in bitmaps(60_000)])
    times = []
    for epoch in range(5):
        order = torch.from_numpy(np.random.default_rng(epoch).permutation(60_000))
        before = time.perf_counter()
        for start in range(0, 60_000, 64):
            x[order[start : start + 64]]
        times.append(time.perf_counter() - before)
    print(f"\ncollate of 60,000 bitmaps in batches of 64: median {statistics.median(times):.3f} s an epoch")


if __name__ == "__main__":
    main()
