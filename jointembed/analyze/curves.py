"""The curves of a training, from the metrics.csv of its run.

Letters: N logged values of a metric.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .figure import Theme, escape_math, plotting, save

MAX_LINES = 6  # in a panel
MAX_POINTS = 2_000  # of a line; of more, means are drawn
MAX_MARKERS = 40
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
OBJECTIVES, RATES = "dev loss of each objective", "learning rate"  # panels
LEARNING_RATE = "lr-"  # what the names of `LearningRateMonitor` begin with
_SUMMARY_METRIC = re.compile(r"recall@\d+|map|.*accuracy|.*loss")
_NUMBERED = re.compile(r"\d+_")  # an objective


@dataclass(frozen=True)
class Curve:
    """A metric over a training.

    Args:
        steps: (N,) optimizer steps.
        epochs: (N,) epochs, from 0 on.
        values: (N,) the finite values.
    """

    steps: NDArray[np.int64]
    epochs: NDArray[np.int64]
    values: NDArray[np.float64]

    def by_epoch(self) -> Curve:
        """The mean of each epoch, at the mean of its steps."""
        epochs, group, counts = np.unique(self.epochs, return_inverse=True, return_counts=True)
        steps, values = (np.bincount(group, weights) / counts for weights in (self.steps, self.values))
        return Curve(steps.round().astype(np.int64), epochs, values)

    def best(self, mode: str) -> int:
        """The place of the first best value, where `mode` is `max` or `min`."""
        return int(self.values.argmax() if mode == "max" else self.values.argmin())


def read_curves(path: Path) -> dict[str, Curve]:
    """The curves in a metrics.csv, by their names; none if there is no such file."""
    if not path.is_file() or not path.stat().st_size:
        return {}
    import pyarrow as pa
    from pyarrow import csv

    with open(path, encoding="utf-8") as file:
        names = file.readline().strip().split(",")
    options = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.float64()))
    table = csv.read_csv(path, convert_options=options)
    columns = {name: table.column(name).to_numpy() for name in names}
    steps, epochs = (columns.pop(name, np.zeros(len(table))) for name in ("step", "epoch"))
    epochs = np.nan_to_num(epochs)  # `LearningRateMonitor` logs none
    curves = {}
    for name, values in columns.items():
        finite = np.isfinite(values)
        if finite.any():
            curves[name] = Curve(steps[finite].astype(np.int64), epochs[finite].astype(np.int64), values[finite])
    return curves


def default_mode(name: str) -> str:
    """The direction of a metric: `min` for losses, else `max`."""
    return "min" if name.startswith(("train/", "dev/")) else "max"


def choose_metrics(names: list[str]) -> list[str]:
    """The metrics of a family that say most, in their order: recall and mean average precision of a retrieval."""
    if len(names) <= MAX_LINES:
        return sorted(names, key=_natural)
    summary = [name for name in names if _SUMMARY_METRIC.fullmatch(name.rpartition("/")[2])]
    return sorted(summary or names, key=_natural)[:MAX_LINES]


def _natural(name: str) -> tuple[str, int]:
    """Sorts recall@10 after recall@5."""
    head, _, number = name.partition("@")
    return head, int(number) if number.isdecimal() else 0


def families(curves: Mapping[str, Curve]) -> dict[str, dict[str, Curve]]:
    """The panels of a plot by their titles, each with its curves by their labels."""
    panels: dict[str, dict[str, Curve]] = {"loss": {}, OBJECTIVES: {}}
    groups: dict[str, list[str]] = {}
    for name in curves:
        prefix, _, metric = name.partition("/")
        if name in ("train/loss", "dev/loss"):
            panels["loss"][prefix] = curves[name]
        elif name.startswith(LEARNING_RATE):
            groups.setdefault(RATES, []).append(name)
        elif prefix == "dev" and _NUMBERED.match(metric):
            panels[OBJECTIVES][metric] = curves[name]
        else:
            groups.setdefault(prefix, []).append(name)
    for title, names in groups.items():
        panels[title] = {name.partition("/")[2] or name: curves[name] for name in choose_metrics(names)}
    panels["loss"] = {name: panels["loss"][name] for name in ("train", "dev") if name in panels["loss"]}
    if RATES in panels:
        panels[RATES] = panels.pop(RATES)  # last
    if len(panels[OBJECTIVES]) == 1:  # whose loss is that of all
        del panels[OBJECTIVES]
    return {title: panel for title, panel in panels.items() if panel}


def draw(path: Path, curves: Mapping[str, Curve], title: str, best: tuple[str, int] | None = None) -> None:
    """Draw curves as a PNG, with a panel for each family of metrics.

    Args:
        path: the file to write.
        curves: see `read_curves`.
        title: of the plot.
        best: a label and the step that it marks.

    Raises:
        UsageError: matplotlib is not installed.
    """
    panels = families(curves)
    columns = min(2 if len(panels) < 5 else 3, len(panels))
    rows = -(-len(panels) // columns)
    with plotting(6.4 * columns, 3.5 * rows) as (figure, theme):
        figure.suptitle(escape_math(title), x=0.01, ha="left", fontsize=11)
        last = max(int(curve.steps.max()) for curve in curves.values())
        for place, (name, panel) in enumerate(panels.items(), 1):
            axes = figure.add_subplot(rows, columns, place)
            _draw_panel(axes, theme, panel, best if place == 1 else best and ("", best[1]))
            axes.set_title(escape_math(name), loc="left", fontsize=10, fontweight="bold")
            axes.set_xlim(-0.02 * last - 0.5, 1.02 * last + 0.5)
            if place > len(panels) - columns:
                axes.set_xlabel("step")
            if name != "loss" and all(0 <= curve.values.min() and curve.values.max() <= 1 for curve in panel.values()):
                axes.set_ylim(bottom=0, top=max(1e-6, 1.05 * max(curve.values.max() for curve in panel.values())))
        save(figure, path)


def _draw_panel(axes: Any, theme: Theme, panel: Mapping[str, Curve], best: tuple[str, int] | None) -> None:
    from matplotlib.ticker import MaxNLocator

    for number, (label, curve) in enumerate(panel.items()):
        color, line = theme.colors[number % len(theme.colors)], LINES[number % len(LINES)]
        epochs = curve.by_epoch()
        if len(curve.values) > 2 * len(epochs.values) and len(epochs.values) > 1:
            steps, values = _thin(curve)
            axes.plot(steps, values, color=color, alpha=0.3, linewidth=0.8)
            curve, label = epochs, f"{label}, by epoch"
        steps, values = _thin(curve)
        marker = "o" if len(steps) <= MAX_MARKERS else None
        axes.plot(
            steps, values, color=color, linestyle=line, linewidth=1.6, marker=marker, markersize=3,
            label=escape_math(label),
        )  # fmt: skip
    if best is not None:
        axes.axvline(best[1], color=theme.muted, linewidth=1, linestyle=":", label=best[0] or None)
    axes.grid(linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _thin(curve: Curve) -> tuple[NDArray[Any], NDArray[Any]]:
    """The points to draw: means over neighbours, if there are too many."""
    stride = -(-len(curve.values) // MAX_POINTS)
    starts = np.arange(0, len(curve.values), stride)
    sizes = np.diff([*starts, len(curve.values)])
    return curve.steps[starts], np.add.reduceat(curve.values, starts) / sizes
