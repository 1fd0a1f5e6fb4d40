"""Encoders turn the pieces of a column into vectors, and pool them into one a row."""

from .causal_transformer import CausalTransformer
from .convnet import ConvNet
from .embedding_bag import EmbeddingBag
from .encoder import Encoder, make_mlp, to_float32
from .gru import GRU
from .mlp import MLP
from .text_transformer import Block, TextTransformer

__all__ = [
    "GRU",
    "MLP",
    "Block",
    "CausalTransformer",
    "ConvNet",
    "EmbeddingBag",
    "Encoder",
    "TextTransformer",
    "make_mlp",
    "to_float32",
]
