"""A picture of models compared on one task: their metrics, and the differences between them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .figure import Theme, escape_math, plotting, save


def draw(path: Path, report: Mapping[str, Any]) -> None:
    """Draw a comparison as a PNG: a row of two panels for each metric, with 95 % intervals.

    Args:
        path: the file to write.
        report: see `evaluation.comparison.compare`.

    Raises:
        UsageError: matplotlib is not installed.
    """
    metrics = report["metrics"]
    heights = [0.9 + 0.34 * max(len(metric["models"]), len(metric["differences"])) for metric in metrics.values()]
    with plotting(10, 0.7 + sum(heights), dpi=150) as (figure, theme):
        panels = figure.subplots(len(metrics), 2, squeeze=False, gridspec_kw={"height_ratios": heights})
        for (left, right), (name, metric) in zip(panels, metrics.items(), strict=True):
            _draw_models(left, theme, name, metric["models"])
            _draw_differences(right, theme, name, metric["differences"], list(metric["models"]))
        units = f"{report['units']:,} units of {report['unit']}"
        tests = f"{report['tests']} test" + "s" * (report["tests"] > 1)
        note = f"95 % bootstrap intervals and sign-flip tests over {units}; p corrected for {tests} (Holm)"
        figure.supxlabel(escape_math(note), fontsize=8, color=theme.muted, x=0.01, ha="left")
        save(figure, path)


def _draw_models(axes: Any, theme: Theme, name: str, models: Mapping[str, Any]) -> None:
    for place, (model, color) in enumerate(zip(models.values(), _colors(theme, len(models)), strict=True)):
        _draw_interval(axes, place, model, color)
        if len(model["seeds"]) > 1:
            axes.plot(model["seeds"], [place] * len(model["seeds"]), "|", color=color, markersize=9, alpha=0.6)
    chance = next(iter(models.values()))["chance"]
    if chance is not None:
        axes.axvline(chance, color=theme.muted, linewidth=1, linestyle=":")
        axes.annotate(
            "chance", (chance, 0), (3, 3), xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=7,
            color=theme.muted,
        )  # fmt: skip
    _finish(axes, name, list(models))


def _draw_differences(axes: Any, theme: Theme, name: str, differences: list[dict[str, Any]], labels: list[str]) -> None:
    colors = dict(zip(labels, _colors(theme, len(labels)), strict=True))
    for place, difference in enumerate(differences):
        color = colors[difference["better"]] if difference["better"] else theme.muted
        _draw_interval(axes, place, difference, color)
        p = difference["p_holm"]
        axes.annotate(
            "p < 0.0001" if p < 1e-4 else f"p = {p:.4f}", (1.02, place), xycoords=("axes fraction", "data"),
            va="center", fontsize=8, color=color,
        )  # fmt: skip
    axes.axvline(0, color=theme.text, linewidth=1)
    _finish(axes, f"difference in {name}", [f"{pair['second']} - {pair['first']}" for pair in differences])


def _draw_interval(axes: Any, place: int, metric: Mapping[str, Any], color: str) -> None:
    if metric["low"] is not None:
        axes.plot([metric["low"], metric["high"]], [place, place], color=color, linewidth=2, solid_capstyle="butt")
    axes.plot([metric["value"]], [place], "o", color=color, markersize=6)


def _finish(axes: Any, title: str, labels: list[str]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(escape_math(title), loc="left", fontsize=10, fontweight="bold")
    axes.set_yticks(range(len(labels)), [escape_math(label) for label in labels], fontsize=9)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _colors(theme: Theme, count: int) -> list[str]:
    return [theme.colors[place % len(theme.colors)] for place in range(count)]
