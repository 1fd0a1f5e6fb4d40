"""A confusion matrix as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..evaluation.confusion import Confusion
from .figure import escape_math, plotting, save

MAX_NUMBERS = 25  # labels up to which each cell shows its number
MAX_NAMES = 60  # labels up to which all are named
MAX_NAME_CHARS = 24


def draw(path: Path, confusion: Confusion, title: str) -> None:
    """Draw a confusion matrix as a PNG: a row for each true label, colored by the share of its rows.

    Args:
        path: the file to write.
        confusion: the matrix.
        title: of the plot.

    Raises:
        UsageError: matplotlib is not installed.
    """
    count = len(confusion.labels)
    shares = confusion.matrix / np.maximum(confusion.matrix.sum(1, keepdims=True), 1)
    side = float(np.clip(0.42 * count, 3.2, 14))
    with plotting(side + 2.4, side + 1.6) as (figure, theme):
        axes = figure.add_subplot()
        image = axes.imshow(shares, cmap=theme.colormap, vmin=0, vmax=1)
        if count <= MAX_NUMBERS:
            for row, column in np.argwhere(confusion.matrix).tolist():
                color = theme.background if shares[row, column] > 0.55 else theme.text
                text = str(confusion.matrix[row, column])
                axes.text(column, row, text, ha="center", va="center", fontsize=8, color=color)
        step = -(-count // MAX_NAMES)
        places = range(0, count, step)
        names = [escape_math(confusion.labels[place][:MAX_NAME_CHARS]) for place in places]
        axes.set_xticks(places, names, rotation=90, fontsize=8)
        axes.set_yticks(places, names, fontsize=8)
        axes.set(xlabel="predicted", ylabel="true")
        axes.set_title(escape_math(title), loc="left", fontsize=10, fontweight="bold")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        bar = figure.colorbar(image, ax=axes, shrink=0.7, label="share of the rows of the true label")
        bar.outline.set_visible(False)
        save(figure, path)
