"""Encoders turn the pieces of a column into vectors, and pool them into one a row."""

from .attention_pooling import AttentionPooling as AttentionPooling
from .causal_transformer import CausalTransformer as CausalTransformer
from .convnet import ConvNet as ConvNet
from .embedding_bag import EmbeddingBag as EmbeddingBag
from .encoder import PIECES_IN_BATCH as PIECES_IN_BATCH
from .encoder import Encoder as Encoder
from .encoder import fill_batches as fill_batches
from .encoder import make_mlp as make_mlp
from .encoder import rows_in_batches as rows_in_batches
from .encoder import to_float32 as to_float32
from .gru import GRU as GRU
from .lengths import compute_by_length as compute_by_length
from .lengths import group_by_length as group_by_length
from .lengths import round_up as round_up
from .mlp import MLP as MLP
from .sequence_encoder import SequenceEncoder as SequenceEncoder
from .text_transformer import TextTransformer as TextTransformer
