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

from jointembed import (
    Category,
    CausalTransformer,
    ConvNet,
    EmbeddingBag,
    JointEmbedding,
    Match,
    NextItem,
    SparseImage,
    Subwords,
    TableData,
    TextTransformer,
)

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


def captions(count):
    rng = np.random.default_rng(0)
    words = [f"word{n}" for n in range(5_000)]
    texts = [" ".join(rng.choice(words, rng.integers(6, 30))) for _ in range(2 * count)]
    return [{"id": str(n), "split": "train", "en": texts[2 * n], "de": texts[2 * n + 1]} for n in range(count)]


def histories(count):
    rng = np.random.default_rng(0)
    films = [str(n) for n in range(3_000)]
    rows = [{"id": f"film {film}", "split": "train", "film": film, "history": None} for film in films]
    for n in range(count):
        history = rng.choice(films, rng.integers(20, 120)).tolist()
        rows.append({"id": str(n), "split": "train", "film": None, "history": history})
    return rows


def classify_bitmaps():
    encoders = {
        "bitmap": ConvNet(SparseImage([28, 28]), [16, 32, 64], 64, axis=None),
        "digit": EmbeddingBag(Category()),
    }
    return JointEmbedding(16, encoders, [Match("bitmap", "digit", "all")])


def match_captions():
    encoders = {"text": TextTransformer(Subwords())}
    return JointEmbedding(64, encoders, [Match("en", "de")], columns={"en": "text", "de": "text"})


def predict_next_film():
    encoders = {"film": EmbeddingBag(Category())}
    columns, pools = {"film": "film", "history": "film"}, {"history": CausalTransformer(length=100, dropout=0.3)}
    return JointEmbedding(64, encoders, [NextItem("history", "all")], columns=columns, pools=pools, metric="dot")


# what is trained: the rows, the model, rows in a batch
CASES = {
    "images, convolutions": (lambda: bitmaps(20_000), classify_bitmaps, 256),
    "captions, Transformer": (lambda: captions(6_000), match_captions, 64),
    "histories, next item": (lambda: histories(6_000), predict_next_film, 64),
}


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


def step_times(data, model, steps):
    """Return the median time of a step under Lightning, and in a plain loop over the same batches."""
    torch.manual_seed(0)
    clock, space = Clock(), model()
    trainer(steps, clock).fit(space, data)
    space.train()
    optimizer = space.configure_optimizers()["optimizer"]
    times = []
    while len(times) <= steps:
        for batch in data.train_dataloader():
            optimizer.zero_grad()
            torch.stack(list(space.losses(batch).values())).sum().backward()
            optimizer.step()
            times.append(time.perf_counter())
    return [statistics.median(np.diff(each[20:steps])) for each in (clock.times, times)]


def main(steps=60, rounds=5):
    print(f"{'training step':<40}{'Lightning ms':>14}{'bare ms':>10}{'ratio':>8}")
    for case, (rows, model, batch_size) in CASES.items():
        data = TableData(rows(), batch_size=batch_size)
        clocks = [step_times(data, model, steps) for _ in range(rounds)]
        ours, bare = zip(*clocks, strict=True)
        record(f"training step, {case}", ours, {"plain loop": bare})
        ratio = statistics.median(under / bare for under, bare in clocks)
        under, bare = (1000 * statistics.median(times) for times in (ours, bare))
        print(f"{f'{case}, {batch_size} rows':<40}{under:>14.1f}{bare:>10.1f}{ratio:>8.3f}", flush=True)

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
