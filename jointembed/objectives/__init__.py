"""What the space is trained for: matching things with their labels and their likes, and predicting numbers."""

from .match import Match
from .next_item import NextItem
from .next_set import NextSet
from .objective import Batch, Objective
from .regression import Regression

__all__ = ["Batch", "Match", "NextItem", "NextSet", "Objective", "Regression"]
