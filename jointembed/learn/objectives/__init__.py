"""What the space is trained for: matching things with their labels and their likes, and predicting numbers."""

from .match import Match
from .next import Next
from .nextset import NextSet
from .objective import Batch, Objective
from .regress import Regress

__all__ = ["Batch", "Match", "Next", "NextSet", "Objective", "Regress"]
