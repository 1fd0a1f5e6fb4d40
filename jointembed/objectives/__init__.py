"""What a space is trained for: matching items with labels and with each other, and predicting numbers."""

from .candidates import AllCandidates as AllCandidates
from .candidates import Candidates as Candidates
from .candidates import Sampled as Sampled
from .cross_batch_memory import CrossBatchMemory as CrossBatchMemory
from .distillation import Distillation as Distillation
from .hard_negatives import Buckets as Buckets
from .in_batch import DistinctInBatch as DistinctInBatch
from .in_batch import InBatch as InBatch
from .losses import GBCE as GBCE
from .losses import Loss as Loss
from .losses import Sigmoid as Sigmoid
from .losses import Softmax as Softmax
from .match import Match as Match
from .next_item import NextItem as NextItem
from .next_set import NextSet as NextSet
from .objective import Objective as Objective
from .objective import Teacher as Teacher
from .regression import Regression as Regression
