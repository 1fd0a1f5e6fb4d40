"""The numbers of parameters of a model, as a table."""

from __future__ import annotations

from typing import cast

import lightning
from lightning.pytorch.callbacks import Callback

from ...errors import escape_control
from ..joint_embedding import JointEmbedding


class ParameterSummary(Callback):
    """Prints the number of parameters of each column, and how many of them are trained."""

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Print a table."""
        if not trainer.is_global_zero:
            return
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        counts = cast(JointEmbedding, pl_module).parameter_counts()
        counts["total"] = sum(total for total, _ in counts.values()), sum(trained for _, trained in counts.values())
        table = Table("column", box=None, pad_edge=False)
        for heading in ("parameters", "trained"):
            table.add_column(heading, justify="right")
        for name, (total, trained) in counts.items():
            table.add_row(Text(escape_control(name)), f"{total:,}", f"{trained:,}")
        Console().print(table)
