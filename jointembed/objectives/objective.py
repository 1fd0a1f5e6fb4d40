"""The base class of objectives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, nn

from ..config import Configurable
from ..errors import UsageError
from ..ragged import Ragged
from ..readers import Reader
from ..space.encoded import Encoded
from ..space.space import Space

Batch = dict[str, Ragged]


@dataclass(frozen=True)
class Teacher:
    """A trained model whose vectors are targets.

    Args:
        checkpoint: its file, or the folder of its run.
        column: its column.
        source: column of the table that has the cells.
    """

    checkpoint: str
    column: str
    source: str

    @property
    def name(self) -> str:
        """What its vectors are called in a batch."""
        return f"{self.source} by {self.column} of {self.checkpoint}"


class Objective(Configurable, nn.Module):
    """A loss over the encoded columns of a batch.

    A custom objective needs `columns` and `forward`. It sees vectors only; of the space it may ask `score`,
    `score_factors`, `pair_scores`, `vocabulary_vectors` and `embed_ids`.
    """

    weight: float = 1.0  # its share in the sum of all objectives
    uses_score: bool = True  # the loss depends on `dim`: with nested dimensions it is averaged over the prefixes
    supports_mixup: bool = True  # `forward` mixes the targets as `Encoded.mix` says
    label_columns: tuple[str, str] | None = None  # what it labels, and by which column; see `label_names`
    is_exclusive: bool = True  # a row has one label, so that their probabilities add up to 1
    gives_likelihood: bool = False  # `negative_log_likelihood` is there

    def columns(self) -> list[str]:
        """The columns of the space whose vectors it takes; the query first."""
        raise UsageError(type(self).__name__, "it has no method `columns`", "write one that lists columns")

    def piece_columns(self) -> set[str]:
        """Columns whose pieces are targets one by one: several captions or tags in a cell."""
        return set()

    def key_columns(self) -> set[str]:
        """Further columns whose keys are needed only, to tell whether two rows are equal there."""
        return set()

    def row_columns(self) -> list[str]:
        """Columns that a row must have to count, all of them; empty if a row may count without."""
        return []

    def readers(self) -> dict[str, Reader]:
        """Readers of the columns that it predicts, and that are not points of the space."""
        return {}

    def teachers(self) -> dict[str, Teacher]:
        """Trained models whose vectors it takes from the batch, by their names in it."""
        return {}

    @property
    def name(self) -> str:
        """What its loss is logged as, after its number."""
        return "_".join(dict.fromkeys([*self.columns(), *self.readers()]))

    def build(self, space: Space) -> None:
        """Make its parameters; all readers are fitted by now."""

    def forward(self, encoded: dict[str, Encoded], batch: Batch, space: Space, dim: int | None = None) -> Tensor:
        """The loss, a number: 0, and connected to the vectors, if no row has what it needs.

        Args:
            encoded: the vectors of each column.
            batch: the columns, with the keys and the targets.
            space: that gives scores.
            dim: score by the first `dim` dimensions only.
        """
        raise UsageError(type(self).__name__, "it has no method `forward`", "write one that returns the loss")

    def predict(self, z: Tensor) -> NDArray[Any]:
        """What it predicts for vectors z (N, D), in the units of the target column."""
        raise UsageError(
            type(self).__name__, "its target is a point of the space, so nothing is predicted", "search for it instead"
        )

    def label_names(self, space: Space) -> list[str]:
        """The K labels of its target, in the order of `label_logits`.

        Raises:
            UsageError: its target is not a column of labels, or the loss gives no probabilities.
        """
        subject = self.label_columns[1] if self.label_columns else type(self).__name__
        fix = "use `Match` with a column of labels, read with Category, and softmax or sigmoid"
        raise UsageError(subject, "the objective gives no probabilities of its values", fix)

    def label_logits(self, z: Tensor, space: Space) -> Tensor:
        """The logits (N, K) of the labels of its target for vectors z (N, D), which are not normalised."""
        raise UsageError(type(self).__name__, "it has no method `label_logits`", "write one that returns (N, K) logits")

    def probabilities(self, z: Tensor, space: Space, temperature: float = 1.0) -> Tensor:
        """The probabilities (N, K) of the labels; see `JointEmbedding.predict_proba`."""
        return self.to_probabilities(self.label_logits(z, space).float() / temperature)

    def to_probabilities(self, logits: Tensor) -> Tensor:
        """Logits (N, K) of labels -> their probabilities (N, K)."""
        return logits.softmax(1) if self.is_exclusive else logits.sigmoid()

    def negative_log_likelihood(self, states: Tensor, sequence: Ragged) -> Tensor:
        """The negative log likelihood (P,) in nats of each piece given those before it; `states` (P, D) at each."""
        raise UsageError(type(self).__name__, "it gives no probability of a piece", "use `NextSet`")
