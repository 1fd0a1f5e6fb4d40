"""A picture of clusters: items as points of a plane, coloured by cluster, with the clusters' names.

Letters: N items, K clusters.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import missing_extra
from ..files import write
from .cluster import Labels

# Okabe and Ito, "Color Universal Design" (2008), without black and with a darker yellow: told apart by people who are
# colour-blind. What comes after the seventh cluster has another shape, too.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#B8A800")
SHAPES = ("o", "^", "s", "D", "v", "P", "X")
NONE = "#C8C8C8"
MOST = 30_000  # points that are drawn; more of them only cover each other
SPELT = 12  # clusters whose names stand in the picture; of more, the numbers do, and the names in the legend
LONGEST = 44  # characters of a name
FEW = 5  # items that a name would hide
LISTED = 40  # clusters in the legend, and with their numbers in the picture


def draw(
    path: Path, points: npt.NDArray[np.floating[Any]], labels: Labels, names: Sequence[str], title: str, note: str
) -> None:
    """Draw clusters as a PNG.

    Args:
        path: the file to write.
        points: (N, 2).
        labels: (N,) cluster numbers; -1 is in none, and grey.
        names: K names, each beginning with the cluster's number.
        title: what it shows.
        note: what the axes are.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("map", "matplotlib") from error
    figure = Figure(figsize=(10, 7.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    count, chosen = len(names), np.arange(len(points))
    if len(points) > MOST:
        chosen = np.random.default_rng(0).choice(len(points), MOST, replace=False)
    size = float(np.clip(24_000 / max(1, len(chosen)), 4, 36))
    sizes = np.bincount(labels[labels >= 0], minlength=count)
    legend = [f"{_plain(name[:LONGEST])}  ({sizes[at]:,})" for at, name in enumerate(names[:LISTED])]
    none = int((labels < 0).sum())
    if none:
        inside = chosen[labels[chosen] < 0]
        axes.scatter(
            *_xy(points, inside), s=0.6 * size, c=NONE, alpha=0.45, linewidths=0, label=f"in no cluster  ({none:,})"
        )
    for label, said in enumerate(legend):
        inside = chosen[labels[chosen] == label]
        colour, shape = COLOURS[label % 7], SHAPES[label // 7 % 7]
        axes.scatter(*_xy(points, inside), s=size, c=colour, marker=shape, alpha=0.8, linewidths=0, label=said)
    if count > LISTED:
        inside = chosen[labels[chosen] >= LISTED]
        colours = [COLOURS[label % 7] for label in labels[inside].tolist()]
        axes.scatter(*_xy(points, inside), s=size, c=colours, alpha=0.8, linewidths=0)
    axes.set(xticks=[], yticks=[], xlabel=note)
    axes.set_title(_plain(title), loc="left", fontsize=12)
    axes.margins(0.06)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    handles, said_all = axes.get_legend_handles_labels()
    if none:  # listed last
        handles, said_all = [*handles[1:], handles[0]], [*said_all[1:], said_all[0]]
    if count > LISTED:
        said_all[LISTED - 1] += f"\nand {count - LISTED:,} more"
    shown = figure.legend(
        handles,
        said_all,
        loc="outside right upper",
        frameon=False,
        fontsize=8,
        markerscale=max(1.0, (30 / size) ** 0.5),
    )
    for handle in filter(None, shown.legend_handles):
        handle.set_alpha(1)
    spelt = [_plain(name[:LONGEST]) if count <= SPELT else name.split()[0] for name in names[:LISTED]]
    medians = [np.median(points[labels == label], axis=0) for label in range(len(spelt))]
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # a sign that the font lacks is drawn as a box
        _written(figure, axes, spelt, medians, sizes[:LISTED].tolist())
        write(path, lambda file: figure.savefig(file, format="png"))


def _written(
    figure: Any, axes: Any, names: Sequence[str], places: Sequence[npt.NDArray[Any]], sizes: Sequence[int]
) -> None:
    """Write names at places, or beside them with a line where another name, or all of a small cluster, is there."""
    from matplotlib.patheffects import withStroke

    figure.draw_without_rendering()  # fixes where the axes lie
    renderer, whole = figure.canvas.get_renderer(), axes.get_window_extent()
    figure.set_layout_engine("none")
    taken: list[Any] = []
    for name, place, size in zip(names, places, sizes, strict=True):
        text = axes.annotate(
            name, place, place, ha="center", va="center", fontsize=9, fontweight="bold", color="#111111", zorder=5,
            path_effects=[withStroke(linewidth=3, foreground="white")], annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": "#444444", "linewidth": 0.8, "shrinkA": 1, "shrinkB": 0},
        )  # fmt: skip
        home = axes.transData.transform(place)
        width, height = (lambda box: (box.width, box.height))(text.get_window_extent(renderer))
        for reach in range(0 if size > FEW else 3, 40):  # a spiral round the place, in half heights of the text
            turn = reach * 2.4
            centre = home + reach * 0.5 * height * np.array([1.6 * np.cos(turn), np.sin(turn)])
            centre = np.clip(centre, whole.p0 + (width / 2, height), whole.p1 - (width / 2, height))
            box = (*(centre - (width / 2 + 3, height / 2 + 3)), *(centre + (width / 2 + 3, height / 2 + 3)))
            if not any(_meet(box, other) for other in taken):
                break
        taken.append(box)
        text.set_position(axes.transData.inverted().transform(centre))
        if np.abs((centre - home) / (width / 2, height)).max() < 1:
            text.arrow_patch.set_visible(False)  # the place lies under its name


def _meet(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _xy(points: npt.NDArray[Any], places: npt.NDArray[np.intp]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    return points[places, 0], points[places, 1]


def _plain(text: str) -> str:
    """A text without the dollar signs that matplotlib would take for mathematics."""
    return text.replace("$", r"\$")
