"""What a space is trained for: matching items with labels and with each other, and predicting numbers."""

from .candidates import AllCandidates, Candidates, InBatch, Sampled
from .losses import Loss, Sigmoid, Softmax
from .match import Match
from .next_item import NextItem
from .next_set import NextSet
from .objective import Batch, Objective
from .regression import Regression

__all__ = [
    "AllCandidates",
    "Batch",
    "Candidates",
    "InBatch",
    "Loss",
    "Match",
    "NextItem",
    "NextSet",
    "Objective",
    "Regression",
    "Sampled",
    "Sigmoid",
    "Softmax",
]
