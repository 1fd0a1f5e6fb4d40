"""What every objective is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import NDArray
from torch import Tensor, nn

from ..config import Configurable
from ..errors import UsageError
from ..ragged import Ragged
from ..readers import Reader

if TYPE_CHECKING:
    from ..encoders.fusion import Encoded
    from ..space.space import JointEmbedding

Batch = dict[str, Ragged]


class Objective(Configurable, nn.Module):
    """A loss over the codes of a batch; `weight` is its share in the sum of all objectives."""

    weight: float
    query: str
    exact: ClassVar[bool] = False  # it gives the probability of each piece of its query: `nats`

    def readers(self) -> dict[str, Reader]:
        """Readers of the columns that only this objective needs: targets that are no points of the space."""
        return {}

    def columns(self) -> set[str]:
        """The columns of the space whose codes it takes."""
        return {self.query}

    def build(self, space: JointEmbedding) -> None:
        """Make its parameters; all readers are fitted by now."""

    def forward(self, z: dict[str, Encoded], batch: Batch, space: JointEmbedding) -> Tensor:
        """The loss, a number: 0 and connected to the codes where no row has what it needs."""
        raise UsageError(type(self).__name__, "it has no method `forward`", "write one: (z, batch, space) -> Tensor")

    def answer(self, z: Tensor) -> NDArray[Any]:
        """What it predicts for vectors z (N, D), in the units of the target column."""
        raise UsageError(
            type(self).__name__, "its target is a point of the space, not an answer", "search for it instead"
        )

    def nats(self, states: Tensor, seen: Ragged) -> Tensor:
        """The negative log likelihood (P,) of each piece given those before it in its row; `states` (P, D) at each."""
        raise UsageError(type(self).__name__, "it gives no probability of a piece", "use `NextSet`")
