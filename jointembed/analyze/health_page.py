"""The checks of a space as one self-contained HTML page, with plots of what they measure."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation.health import MIN_VECTORS, Check, neighbor_counts, sample, squared_distances, to_unit
from ..files import write
from .figure import DARK, LIGHT, Theme, escape_math, plotting

Vectors = NDArray[np.floating[Any]]

STYLE = """\
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1a1a1a; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; border-bottom: 2px solid #888; }
td, th { padding: .25rem .6rem .25rem 0; vertical-align: top; } td { border-bottom: 1px solid #ddd; }
td:nth-child(5) { white-space: nowrap; }
.value { text-align: right; font-variant-numeric: tabular-nums; }
.ok { color: #00704f; } .warn { color: #9a5b00; font-weight: 600; } .fail { color: #b30000; font-weight: 700; }
img { max-width: 100%; height: auto; } .note { color: #555; }
@media (prefers-color-scheme: dark) {
  body { background: #161616; color: #e8e8e8; } td { border-color: #333; } .note { color: #aaa; }
  .ok { color: #3ecf9b; } .warn { color: #f0b04d; } .fail { color: #ff7b7b; }
}
"""


def write_page(
    path: Path, title: str, checks: Sequence[Check], notes: Sequence[str], vectors: Mapping[str, Vectors]
) -> None:
    """Write the checks as a page that opens from disk in any browser, without a network.

    Args:
        path: the .html file to write.
        title: the name of the model.
        checks: in their order.
        notes: what could not be checked.
        vectors: (N, D) of each column, for the plots.

    Raises:
        UsageError: matplotlib is not installed.
    """
    counts = {verdict: sum(check.verdict == verdict for check in checks) for verdict in ("fail", "warn", "ok")}
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(title)}: checks</title><style>{STYLE}</style></head><body>",
        f"<h1>{html.escape(title)}</h1><p>{len(checks)} checks: {summary}</p>",
        "<table><thead><tr><th>verdict</th><th>column</th><th>check</th><th class=value>value</th>"
        "<th>thresholds</th><th>note</th></tr></thead><tbody>",
        *map(_row, checks),
        "</tbody></table>",
        *(f"<p class=note>note: {html.escape(note)}</p>" for note in notes),
    ]
    for column, points in vectors.items():
        if len(points) >= MIN_VECTORS:
            name = html.escape(column)
            light, dark = (base64.b64encode(image).decode() for image in _plot(points, (LIGHT, DARK)))
            lines.append(
                f'<h2>{name}</h2><picture><source media="(prefers-color-scheme: dark)" '
                f'srcset="data:image/png;base64,{dark}"><img alt="Plots of {name}" '
                f'src="data:image/png;base64,{light}"></picture>'
            )
    write(path, "\n".join([*lines, "</body></html>", ""]))


def _row(check: Check) -> str:
    cells = [check.subject, check.name, f"{check.value:.4g}", check.thresholds, check.note]
    texts = [html.escape(cell) for cell in cells]
    verdict = f"<td class={check.verdict}>{check.verdict}</td>"
    classes = ["", "", " class=value", "", " class=note"]
    body = "".join(f"<td{kind}>{text}</td>" for kind, text in zip(classes, texts, strict=True))
    return f"<tr>{verdict}{body}</tr>"


def _plot(vectors: Vectors, themes: Sequence[Theme]) -> list[bytes]:
    """PNGs: cosines of all pairs, the spread of each dimension, singular values, and neighbors by vector."""
    points = np.asarray(sample(vectors), np.float64)
    unit = to_unit(points)
    cosines = (unit @ unit.T)[np.triu_indices(len(unit), 1)]
    deviations = np.sort(points.std(0))[::-1]
    singular = np.linalg.svd(points - points.mean(0), compute_uv=False)
    occurrences = neighbor_counts((-squared_distances(points)).astype(np.float32))
    titles = ["cosines of all pairs", "standard deviation of dimensions", "singular values", "times a nearest neighbor"]
    labels = ["cosine (dotted: mean)", "dimension, by size", "number", "of the 10 nearest of the rest"]
    images = []
    for theme in themes:
        with plotting(12, 2.9, dpi=110, theme=theme) as (figure, _):
            panels, colors = figure.subplots(1, 4), theme.colors
            panels[0].hist(cosines, bins=60, range=(-1, 1), color=colors[0])
            panels[0].axvline(float(cosines.mean()), color=theme.text, linewidth=1, linestyle=":")
            panels[1].bar(np.arange(1, len(deviations) + 1), deviations, width=1.0, color=colors[1])
            shares = singular / max(singular[0], 1e-30)
            panels[2].plot(np.arange(1, len(singular) + 1), shares, color=colors[2], linewidth=1.8)
            panels[2].set_ylim(bottom=0)
            panels[3].hist(occurrences, bins=np.arange(0, occurrences.max() + 2) - 0.5, color=colors[3])
            for axes, title, label in zip(panels, titles, labels, strict=True):
                axes.set_title(escape_math(title), loc="left", fontsize=10, fontweight="bold")
                axes.set_xlabel(label, fontsize=8)
                axes.tick_params(labelsize=8)
                axes.spines[["top", "right"]].set_visible(False)
            file = io.BytesIO()
            figure.savefig(file, format="png")
            images.append(file.getvalue())
    return images
