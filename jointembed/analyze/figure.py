"""The style of all plots, light or dark, and the figures that are drawn in it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError, missing_extra
from ..files import write

THEME = "JOINTEMBED_THEME"  # the environment variable


@dataclass(frozen=True)
class Theme:
    """The colors of a plot.

    Args:
        background: of the figure.
        text: of titles, names and axes.
        muted: of notes and lines in the background.
        grid: of the grid.
        colors: of the first seven series or clusters.
        no_cluster: of points in no cluster.
        colormap: for shares and probabilities, from the background to its opposite.
    """

    background: str
    text: str
    muted: str
    grid: str
    colors: tuple[str, ...]
    no_cluster: str
    colormap: str


# Okabe and Ito, "Color Universal Design" (2008), without black and with a darker yellow, which color-blind people can
# distinguish.
LIGHT = Theme(
    background="#FFFFFF",
    text="#222222",
    muted="#666666",
    grid="#E5E5E5",
    colors=("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#B8A800"),
    no_cluster="#C8C8C8",
    colormap="Blues",
)
# The same hues, each at least five times as bright as the background.
DARK = Theme(
    background="#161616",
    text="#E8E8E8",
    muted="#A3A3A3",
    grid="#363636",
    colors=("#4FA3E0", "#E69F00", "#1FBF92", "#FF7A33", "#A5D8F5", "#E59AC9", "#D4C72B"),
    no_cluster="#5C5C5C",
    colormap="Blues_r",
)
THEMES = {"light": LIGHT, "dark": DARK}


def chosen_theme() -> Theme:
    """The theme that the environment variable names; light by default.

    Raises:
        UsageError: there is no such theme.
    """
    name = os.environ.get(THEME, "light")
    if name not in THEMES:
        raise UsageError(THEME, f"must be light or dark, got {name!r}", f"export {THEME}=dark")
    return THEMES[name]


@contextmanager
def plotting(width: float, height: float, dpi: int = 120, theme: Theme | None = None) -> Iterator[tuple[Any, Theme]]:
    """A figure of matplotlib, and its theme. Axes and text that are added inside take the colors of the theme.

    Args:
        width: in inches.
        height: in inches.
        dpi: pixels in an inch.
        theme: by default, that of `chosen_theme`.

    Raises:
        UsageError: matplotlib is not installed, or there is no such theme.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("map", "matplotlib") from error
    theme = theme or chosen_theme()
    lines = ["text.color", "axes.labelcolor", "axes.titlecolor", "axes.edgecolor", "xtick.color", "ytick.color"]
    settings: dict[Any, Any] = dict.fromkeys(lines, theme.text)
    settings |= dict.fromkeys(["figure.facecolor", "axes.facecolor", "savefig.facecolor"], theme.background)
    with rc_context({**settings, "grid.color": theme.grid}):
        figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, theme


def save(figure: Any, path: Path) -> None:
    """Write a figure as a PNG."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a name in a script that the font lacks
        write(path, lambda file: figure.savefig(file, format="png"))


def escape_math(text: str) -> str:
    """Escape the dollar signs that matplotlib would take for mathematics."""
    return text.replace("$", r"\$")
