"""The labels of a sound over time as a picture, below its spectrogram."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..training.label_curves import LabelCurves
from .figure import escape_math, plotting, save

MAX_NAME_CHARS = 28
TICKS = (0, 500, 1000, 2000, 4000, 8000, 16000)  # Hz


def draw(path: Path, curves: LabelCurves, title: str, k: int = 8) -> None:
    """Draw a spectrogram, and below it the k labels that are the most probable in some segment, as a PNG.

    Raises:
        UsageError: matplotlib is not installed.
    """
    rows = np.argsort(-curves.values.max(0), kind="stable")[:k]
    rows = rows[np.argsort(-curves.overall[rows], kind="stable")]
    end = curves.duration
    with plotting(11, 3.4 + 0.3 * len(rows)) as (figure, theme):
        from matplotlib.ticker import FuncFormatter

        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.4, 0.3 * len(rows) + 0.4])
        figure.suptitle(escape_math(title), x=0.01, ha="left", fontsize=11, fontweight="bold")
        frames = curves.frames
        floor = np.percentile(frames, 5)
        image = upper.imshow(
            frames.T, origin="lower", aspect="auto", extent=(0, end, 0, frames.shape[1]), cmap="magma", vmin=floor
        )
        image.set_rasterized(True)
        hertz = [tick for tick in TICKS if tick <= curves.rate / 2]
        places = _to_mel(np.array(hertz)) / _to_mel(np.array(curves.rate / 2)) * frames.shape[1]
        upper.set_yticks(places, [f"{tick:,}" for tick in hertz], fontsize=8)
        upper.set_ylabel("Hz", fontsize=8)
        edges = np.clip((np.arange(len(curves.times) + 1) - 0.5) * _step(curves.times) + curves.times[0], 0, None)
        edges[0], edges[-1] = 0, end
        values = curves.values[:, rows].T
        mesh = lower.pcolormesh(
            edges, np.arange(len(rows) + 1), values, cmap=theme.colormap, vmin=0, vmax=max(0.5, values.max())
        )
        lower.invert_yaxis()
        names = [f"{curves.labels[place][:MAX_NAME_CHARS]}  {curves.overall[place]:.2f}" for place in rows]
        lower.set_yticks(np.arange(len(rows)) + 0.5, list(map(escape_math, names)), fontsize=9)
        lower.tick_params(length=0, labelsize=9)
        lower.xaxis.set_major_formatter(FuncFormatter(lambda second, _: f"{int(second) // 60}:{int(second) % 60:02}"))
        lower.set_xlabel("minutes and seconds; beside each label its probability in the whole sound", fontsize=8)
        for axes in (upper, lower):
            axes.spines[:].set_visible(False)
        bar = figure.colorbar(mesh, ax=lower, pad=0.01, aspect=8)
        bar.set_label("probability", fontsize=8)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=8)
        save(figure, path)


def _step(times: NDArray[np.float64]) -> float:
    return float(times[1] - times[0]) if len(times) > 1 else 2 * float(times[0])


def _to_mel(hertz: NDArray[Any]) -> NDArray[np.float64]:
    """Frequencies on Slaney's scale, as in `LogMelSpectrogram`: linear up to 1 kHz, then 27 to a factor of 6.4."""
    return np.where(hertz < 1000, hertz * 3 / 200, 15 + np.log(np.maximum(hertz, 1) / 1000) * 27 / np.log(6.4))
