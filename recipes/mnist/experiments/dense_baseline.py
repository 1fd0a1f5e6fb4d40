"""Experiment: the network of `bitmap3d.yaml` written in torch, with dense pixels: its baseline.

    python recipes/mnist/experiments/dense_baseline.py TABLE [SEED ...]

TABLE is the output of `prepare.py`. Prints the 5-NN accuracy of the test digits among the training digits in three
dimensions, and the accuracy of the logits, for each seed.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from jointembed import recipe_tools
from jointembed.data.rows import Rows
from jointembed.errors import UsageError

LEARNING_RATE, EPOCHS, BATCH_SIZE = 1e-2, 20, 256  # those of the recipe


def train(pixels: torch.Tensor, digits: torch.Tensor, seed: int) -> tuple[nn.Module, nn.Module]:
    """A linear layer of three outputs, and the network from these to ten logits."""
    torch.manual_seed(seed)
    points = nn.Linear(pixels.shape[1], 3)
    logits = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam([*points.parameters(), *logits.parameters()], LEARNING_RATE)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(pixels)).split(BATCH_SIZE):
            loss = nn.functional.cross_entropy(logits(points(pixels[batch])), digits[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return points, logits


def main() -> None:
    if len(sys.argv) < 2:
        raise UsageError(sys.argv[0], "a table is needed", "give the folder that prepare.py wrote")
    rows = Rows.open(sys.argv[1])
    names, numbers = rows.labels("split")
    images = np.stack([np.asarray(cell).ravel() for cell in rows.cells("bitmap")])
    pixels = torch.from_numpy(images.astype(np.float32) / (255 if images.dtype.kind in "iu" else 1))
    digits = torch.tensor([int(digit) for digit in rows.cells("digit")])
    train_rows, test_rows = (torch.from_numpy(numbers == names.index(split)) for split in ("train", "test"))
    for seed in map(int, sys.argv[2:] or ["0"]):
        points, logits = train(pixels[train_rows], digits[train_rows], seed)
        with torch.inference_mode():
            candidates, queries = points(pixels[train_rows]), points(pixels[test_rows])
            accuracy = float((logits(queries).argmax(1) == digits[test_rows]).float().mean())
        neighbors = KNeighborsClassifier(5).fit(candidates.numpy(), digits[train_rows].numpy())
        share = neighbors.score(queries.numpy(), digits[test_rows].numpy())
        print(f"seed {seed}: 5-NN accuracy {share:.4f}, accuracy {accuracy:.4f}; {len(queries):,} digits", flush=True)


if __name__ == "__main__":
    recipe_tools.run_script(main)
