"""A scatter plot of clusters: items as points of a plane, colored by cluster, with the clusters' names.

Letters: N items, K clusters.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .cluster import Labels
from .figure import Theme, escape_math, plotting, save

MARKERS = ("o", "^", "s", "D", "v", "P", "X")  # change after each seventh cluster
MAX_POINTS = 30_000  # more of them only cover each other
MAX_INLINE_NAMES = 12  # clusters up to which names stand in the plot; of more, their numbers do
MAX_LEGEND = 40  # clusters in the legend, and with their numbers in the plot
MAX_NAME_CHARS = 44
MIN_ITEMS_UNDER_NAME = 6  # a name beside the points does not hide a smaller cluster


def draw(
    path: Path, points: npt.NDArray[np.floating[Any]], labels: Labels, names: Sequence[str], title: str, note: str
) -> None:
    """Draw clusters as a PNG.

    Args:
        path: the file to write.
        points: (N, 2).
        labels: (N,) cluster numbers; -1 is in no cluster, and grey.
        names: K names, each beginning with the cluster's number.
        title: of the plot.
        note: describes the axes.

    Raises:
        UsageError: matplotlib is not installed.
    """
    with plotting(10, 7.2, dpi=150) as (figure, theme):
        axes = figure.add_subplot()
        count, visible = len(names), np.arange(len(points))
        if len(points) > MAX_POINTS:
            visible = np.random.default_rng(0).choice(len(points), MAX_POINTS, replace=False)
        area = float(np.clip(24_000 / max(1, len(visible)), 4, 36))
        sizes = np.bincount(labels[labels >= 0], minlength=count)
        outside = int((labels < 0).sum())
        if outside:
            x, y = points[visible[labels[visible] < 0]].T
            name = f"in no cluster  ({outside:,})"
            axes.scatter(x, y, s=0.6 * area, c=theme.no_cluster, alpha=0.45, linewidths=0, label=name)
        for label, name in enumerate(names[:MAX_LEGEND]):
            x, y = points[visible[labels[visible] == label]].T
            color, marker = theme.colors[label % 7], MARKERS[label // 7 % 7]
            name = f"{escape_math(name[:MAX_NAME_CHARS])}  ({sizes[label]:,})"
            axes.scatter(x, y, s=area, c=color, marker=marker, alpha=0.8, linewidths=0, label=name)
        if count > MAX_LEGEND:
            rest = visible[labels[visible] >= MAX_LEGEND]
            colors = [theme.colors[label % 7] for label in labels[rest].tolist()]
            x, y = points[rest].T
            axes.scatter(x, y, s=area, c=colors, alpha=0.8, linewidths=0)
        axes.set(xticks=[], yticks=[], xlabel=note)
        axes.set_title(escape_math(title), loc="left", fontsize=12)
        axes.margins(0.06)
        axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
        _add_legend(figure, axes, area, bool(outside), count - MAX_LEGEND)
        inline = [
            escape_math(name[:MAX_NAME_CHARS]) if count <= MAX_INLINE_NAMES else name.split()[0] for name in names
        ]
        inline = inline[:MAX_LEGEND]
        medians = [np.median(points[labels == label], axis=0) for label in range(len(inline))]
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # missing glyphs are drawn as boxes
            _place_labels(figure, axes, theme, inline, medians, sizes[:MAX_LEGEND].tolist())
            save(figure, path)


def _add_legend(figure: Any, axes: Any, area: float, outside_first: bool, hidden: int) -> None:
    handles, texts = axes.get_legend_handles_labels()
    if hidden > 0:
        texts[-1] += f"\nand {hidden:,} more"
    if outside_first:  # listed last
        handles, texts = [*handles[1:], handles[0]], [*texts[1:], texts[0]]
    scale = max(1.0, (30 / area) ** 0.5)
    legend = figure.legend(handles, texts, loc="outside right upper", frameon=False, fontsize=8, markerscale=scale)
    for handle in filter(None, legend.legend_handles):
        handle.set_alpha(1)


def _place_labels(
    figure: Any,
    axes: Any,
    theme: Theme,
    names: Sequence[str],
    anchors: Sequence[npt.NDArray[Any]],
    sizes: Sequence[int],
) -> None:
    """Write names at their anchors, or beside them with a line where another name or a small cluster is there."""
    from matplotlib.patheffects import withStroke

    figure.draw_without_rendering()  # fixes the position of the axes
    renderer, area = figure.canvas.get_renderer(), axes.get_window_extent()
    figure.set_layout_engine("none")
    boxes: list[Any] = []
    for name, anchor, size in zip(names, anchors, sizes, strict=True):
        text = axes.annotate(
            name, anchor, anchor, ha="center", va="center", fontsize=9, fontweight="bold", zorder=5,
            path_effects=[withStroke(linewidth=3, foreground=theme.background)], annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": theme.muted, "linewidth": 0.8, "shrinkA": 1, "shrinkB": 0},
        )  # fmt: skip
        home = axes.transData.transform(anchor)
        extent = text.get_window_extent(renderer)
        width, height = extent.width, extent.height
        for step in range(0 if size >= MIN_ITEMS_UNDER_NAME else 3, 40):  # a spiral about the anchor
            angle = step * 2.4
            center = home + step * 0.5 * height * np.array([1.6 * np.cos(angle), np.sin(angle)])
            center = np.clip(center, area.p0 + (width / 2, height), area.p1 - (width / 2, height))
            box = (*(center - (width / 2 + 3, height / 2 + 3)), *(center + (width / 2 + 3, height / 2 + 3)))
            if not any(_intersect(box, earlier) for earlier in boxes):
                break
        boxes.append(box)
        text.set_position(axes.transData.inverted().transform(center))
        if np.abs((center - home) / (width / 2, height)).max() < 1:
            text.arrow_patch.set_visible(False)  # the anchor lies under the name


def _intersect(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
