"""The first epoch of a linear projection over a frozen encoder, against the later ones, which read its cached vectors.

The first epoch includes the start of the run: the sounds are decoded and encoded, and their vectors written.

Run: JOINTEMBED_DATA=FOLDER python tests/benchmarks/bench_frozen.py [CHECKPOINT COLUMN]
The sounds are those of the data set `games`. Without a checkpoint the encoder is a ConvNet of 4.7 M random weights.
"""

import csv
import logging
import os
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import lightning
import torch

from jointembed import (
    Category,
    ConvNet,
    EmbeddingBag,
    Evaluate,
    JointEmbedding,
    LogMel,
    Match,
    Space,
    TableData,
    Trainer,
    from_checkpoint,
)

warnings.filterwarnings("ignore")
for package in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(package).setLevel(logging.ERROR)
EPOCHS = 6


class Clock(lightning.Callback):
    """Records when each epoch ends, its validation included."""

    def __init__(self):
        self.times = []

    def on_train_epoch_end(self, *_):
        self.times.append(time.perf_counter())


def save_random_convnet(path):
    torch.manual_seed(0)
    reader = LogMel(sample_rate=16000, seconds=5.0, n_mels=96, n_fft=512, hop_length=160)
    space = Space(256, {"audio": ConvNet(reader, [64, 128, 256, 512], 256)})
    space.build()
    space.save(path)


def main():
    folder = Path(os.environ["JOINTEMBED_DATA"]) / "games"
    with open(folder / "games.csv", newline="") as file:
        tracks = list(csv.DictReader(file))
    rows = [
        {
            "audio": str(folder / "audio" / track["filename"]),
            "game": track["game"],
            "split": "dev" if n % 5 == 0 else "train",
        }
        for n, track in enumerate(tracks)
    ]
    print(f"{'validation':<28}{'first epoch s':>14}{'later, median s':>17}{'ratio':>8}{'again from disk s':>19}")
    for evaluated in (False, True):
        with tempfile.TemporaryDirectory() as scratch:
            checkpoint, column = sys.argv[1:3] or (f"{scratch}/convnet.ckpt", "audio")
            if len(sys.argv) == 1:
                save_random_convnet(checkpoint)
            times = []
            for run in ("first", "again"):
                encoders = {
                    "audio": from_checkpoint(checkpoint, column, projection=[]),
                    "game": EmbeddingBag(Category()),
                }
                clock = Clock()
                trainer = Trainer(
                    max_epochs=EPOCHS,
                    accelerator="cpu",
                    enable_progress_bar=False,
                    enable_model_summary=False,
                    log_every_n_steps=1,
                    default_root_dir=f"{scratch}/{run}",
                    callbacks=[clock, *([Evaluate("audio", "audio", "game")] if evaluated else [])],
                )
                start = time.perf_counter()
                trainer.fit(
                    JointEmbedding(128, encoders, [Match("audio", "game", "all")]),
                    TableData(rows, batch_size=32, cache=f"{scratch}/cache"),
                )
                ends = [start, *clock.times]
                times.append([stop - begin for begin, stop in zip(ends, ends[1:], strict=False)])
            later = statistics.median(times[0][1:])
            name = "loss and retrieval" if evaluated else "loss"
            print(f"{name:<28}{times[0][0]:>14.2f}{later:>17.3f}{times[0][0] / later:>8.0f}{times[1][0]:>19.2f}")


if __name__ == "__main__":
    main()
