"""How a space is trained: its losses, what is logged of them, and its optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import lightning
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from ..ragged import Ragged
from . import optim

if TYPE_CHECKING:
    from ..objectives import Objective
    from ..space.space import JointEmbedding


class Training(lightning.LightningModule):
    """The half of a JointEmbedding that Lightning's Trainer calls."""

    objectives: nn.ModuleList
    lr: float
    rows_lr: float
    weight_decay: float
    warmup: float

    def losses(self, batch: dict[str, Ragged]) -> dict[str, Tensor]:
        """The weighted loss of each objective, by its name."""
        codes = self(batch)
        space = cast("JointEmbedding", self)
        return {
            f"{number}_{objective.query}": objective.weight * objective(codes, batch, space)
            for number, objective in enumerate(cast("list[Objective]", self.objectives))
        }

    def _logged(self, stage: str, batch: dict[str, Ragged], step: bool) -> Tensor:
        losses = self.losses(batch)
        total = torch.stack(list(losses.values())).sum()
        size = len(next(iter(batch.values())))
        parts = {f"{stage}/{name}": loss.detach() for name, loss in losses.items()} if not step else {}
        self.log_dict(
            {f"{stage}/loss": total.detach(), **parts},
            on_step=step,
            on_epoch=not step,
            batch_size=size,
            prog_bar=False,
            sync_dist=not step,
        )
        return total

    def training_step(self, batch: dict[str, Ragged], number: int) -> Tensor:
        """The sum of all objectives."""
        return self._logged("train", batch, True)

    def validation_step(self, batch: dict[str, Ragged], number: int) -> Tensor:
        """The same objectives on rows that are not trained on."""
        return self._logged("dev", batch, False)

    def test_step(self, batch: dict[str, Ragged], number: int) -> Tensor:
        """The same objectives on the rows that are reported on."""
        return self._logged("test", batch, False)

    def predict_step(self, batch: dict[str, Ragged], number: int) -> dict[str, Tensor]:
        """The vectors of every column."""
        return {column: code.z for column, code in self(batch).items()}

    def configure_optimizers(self) -> Any:
        """AdamW for the networks, row-wise Adagrad for large tables, and a learning rate that rises and falls."""
        optimizer = optim.AdamWWithSparseAdagrad(optim.groups(self), self.lr, self.weight_decay, self.rows_lr)
        data = getattr(self.trainer, "datamodule", None)
        if data is None or not hasattr(data, "steps"):
            return optimizer
        # Lightning's own estimate would make a resumed run forget its place in the data.
        total = data.steps(self.trainer)
        schedule = LambdaLR(optimizer, optim.course(total, self.warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip the dense gradients by their common norm, if the trainer asks for it."""
        if gradient_clip_val:
            optim.clip(optimizer, gradient_clip_val)
