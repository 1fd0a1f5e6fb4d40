"""Encoders turn the pieces of a column into vectors, and pool them into one a row."""

from .bag import Bag
from .conv import Conv
from .dense import Dense
from .encoder import Encoder, mlp, wide
from .transformer import Block, Transformer

__all__ = ["Bag", "Block", "Conv", "Dense", "Encoder", "Transformer", "mlp", "wide"]
