"""Vectors like those of a trained model."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from ..arguments import NonNegative
from ..errors import UsageError
from ..space.encoded import Encoded
from ..space.space import Space
from . import distributed
from .objective import Batch, Objective, Teacher


class Distillation(Objective):
    """Keeps the vectors of a column near those that a trained model gives the same cells.

    With the checkpoint that the column begins with, it holds a fine-tuned encoder near what it was; with that of a
    larger model, it teaches a small one (Hinton et al. 2015), whose vectors can then be searched beside the teacher's.
    The vectors of the teacher are computed once and cached; its file is needed in training only. Classes from outside
    jointembed are not loaded with it.

        objectives:
          - {class_path: Match, init_args: {query: audio, target: artist}}
          - {class_path: Distillation, init_args: {query: audio, teacher: music.ckpt, weight: 0.3}}

    Args:
        query: column of the space; the space must have the dimension of the teacher's.
        teacher: a .ckpt file, or the folder of a run of `fit`.
        column: column of the teacher that reads the cells of `query`; of the same name if not given.
        loss: `cosine`: 1 - the cosine. `mse`: the mean squared error, for spaces where the length of vectors counts.
        weight: in the sum of all objectives.
    """

    uses_score = False

    def __init__(
        self,
        query: str,
        teacher: str,
        column: str | None = None,
        loss: Literal["cosine", "mse"] = "cosine",
        weight: NonNegative = 1.0,
    ) -> None:
        super().__init__()
        if loss not in ("cosine", "mse"):
            raise UsageError("loss", f"must be cosine or mse, got {loss!r}", "write `cosine`")
        self.query, self.loss, self.weight = query, loss, weight
        self.teacher = Teacher(teacher, column or query, query)

    def columns(self) -> list[str]:
        """The query."""
        return [self.query]

    def row_columns(self) -> list[str]:
        """The query."""
        return [self.query]

    @property
    def name(self) -> str:
        """The query, and that it is taught."""
        return f"{self.query}_distillation"

    def teachers(self) -> dict[str, Teacher]:
        """The teacher."""
        return {self.teacher.name: self.teacher}

    def forward(self, encoded: dict[str, Encoded], batch: Batch, space: Space, dim: int | None = None) -> Tensor:
        """The distance between the vectors (B, D) and those of the teacher, over rows that have both.

        Raises:
            UsageError: these have another dimension.
        """
        query, target = encoded[self.query], batch[self.teacher.name]
        if target.values.shape[1] != space.dim:
            wrong = f"the vectors of the teacher have {target.values.shape[1]} dimensions, the space has {space.dim}"
            raise UsageError("dim", wrong, f"set dim: {target.values.shape[1]}, or take another teacher")
        right = target.mean(target.values)
        right = query.mix(right) if query.mix else right
        if self.loss == "mse":
            distances = (query.z - right).square().mean(1)
        else:
            distances = 1 - F.cosine_similarity(query.z, right)
        return distributed.mean(distances, query.present & target.present)
