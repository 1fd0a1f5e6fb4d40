"""The public names, one a line: `__init__.py` loads them from here, and type checkers see them."""

from .adapters.scikit_learn import Embedder as Embedder
from .data.table import TableData as TableData
from .encoders import GRU as GRU
from .encoders import MLP as MLP
from .encoders import AttentionPooling as AttentionPooling
from .encoders import CausalTransformer as CausalTransformer
from .encoders import ConvNet as ConvNet
from .encoders import EmbeddingBag as EmbeddingBag
from .encoders import Encoder as Encoder
from .encoders import SequenceEncoder as SequenceEncoder
from .encoders import TextTransformer as TextTransformer
from .index.hits import Hit as Hit
from .index.index import Index as Index
from .objectives import AllCandidates as AllCandidates
from .objectives import Candidates as Candidates
from .objectives import Distillation as Distillation
from .objectives import DistinctInBatch as DistinctInBatch
from .objectives import InBatch as InBatch
from .objectives import Loss as Loss
from .objectives import Match as Match
from .objectives import NextItem as NextItem
from .objectives import NextSet as NextSet
from .objectives import Objective as Objective
from .objectives import Regression as Regression
from .objectives import Sampled as Sampled
from .objectives import Sigmoid as Sigmoid
from .objectives import Softmax as Softmax
from .pretrained.huggingface.audio import PretrainedAudioEncoder as PretrainedAudioEncoder
from .pretrained.huggingface.text import PretrainedTextEncoder as PretrainedTextEncoder
from .pretrained.huggingface.vision import PretrainedImageEncoder as PretrainedImageEncoder
from .pretrained.lora import LoRA as LoRA
from .pretrained.torchvision_models import TorchvisionEncoder as TorchvisionEncoder
from .pretrained.tower import from_checkpoint as from_checkpoint
from .ragged import Ragged as Ragged
from .readers import BagOfWords as BagOfWords
from .readers import Category as Category
from .readers import HashedCross as HashedCross
from .readers import Image as Image
from .readers import LogMel as LogMel
from .readers import Numbers as Numbers
from .readers import PianoRoll as PianoRoll
from .readers import PiecewiseLinear as PiecewiseLinear
from .readers import Quantiles as Quantiles
from .readers import Reader as Reader
from .readers import SparseImage as SparseImage
from .readers import Subwords as Subwords
from .space.space import Space as Space
from .training.callbacks.best_and_last import BestAndLast as BestAndLast
from .training.callbacks.ema import EMA as EMA
from .training.callbacks.evaluate import Evaluate as Evaluate
from .training.callbacks.skip_non_finite import SkipNonFinite as SkipNonFinite
from .training.joint_embedding import JointEmbedding as JointEmbedding
from .training.trainer import Trainer as Trainer

__version__: str
__all__: list[str]
