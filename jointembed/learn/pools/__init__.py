"""Pools read the pieces of a row in their order, and give it one vector: a history of films, a tune of notes."""

from .history import History
from .recurrent import Recurrent

__all__ = ["History", "Recurrent"]
