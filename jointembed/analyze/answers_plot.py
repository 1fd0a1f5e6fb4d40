"""A query and its nearest answers as a picture: the spectrogram of each, on one scale of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .figure import escape_math, plotting, save

MAX_NAME_CHARS = 34


@dataclass(frozen=True)
class Sound:
    """A sound of the picture.

    Args:
        name: its title or id.
        note: what stands below the name, such as its score and genre.
        frames: (F, M) the log-mel spectrogram; None if the sound cannot be read.
        duration: in seconds.
    """

    name: str
    note: str
    frames: NDArray[np.float32] | None
    duration: float


def draw(path: Path, queries: Sequence[Sound], answers: Sequence[Sound]) -> None:
    """Draw queries, and their answers below them, as a PNG.

    Raises:
        UsageError: matplotlib is not installed.
    """
    sounds = [*queries, *answers]
    end = max([1.0, *(sound.duration for sound in sounds)])
    with plotting(11, 0.5 + 1.05 * len(sounds)) as (figure, theme):
        from matplotlib.ticker import FuncFormatter

        panels = figure.subplots(len(sounds), 1, sharex=True, squeeze=False)[:, 0]
        for place, (axes, sound) in enumerate(zip(panels, sounds, strict=True)):
            rank = place - len(queries) + 1
            color = theme.text if rank > 0 else theme.colors[0]
            name = sound.name if len(sound.name) <= MAX_NAME_CHARS else sound.name[: MAX_NAME_CHARS - 1] + "…"
            title = escape_math(f"{rank}  {name}" if rank > 0 else name)
            axes.text(-0.01, 0.62, title, transform=axes.transAxes, ha="right", va="center", fontsize=9, color=color,
                      fontweight="bold")  # fmt: skip
            axes.text(-0.01, 0.32, escape_math(sound.note), transform=axes.transAxes, ha="right", va="center",
                      fontsize=8, color=theme.muted)  # fmt: skip
            if sound.frames is None:
                axes.text(0.01, 0.5, "the sound cannot be read", transform=axes.transAxes, va="center", fontsize=8)
            else:
                axes.imshow(sound.frames.T, origin="lower", aspect="auto", cmap="magma",
                            extent=(0, sound.duration, 0, sound.frames.shape[1]),
                            vmin=np.percentile(sound.frames, 5))  # fmt: skip
            axes.set_xlim(0, end)
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
            axes.tick_params(axis="x", length=0, labelsize=8, labelbottom=place == len(sounds) - 1)
        panels[-1].xaxis.set_major_formatter(
            FuncFormatter(lambda second, _: f"{int(second) // 60}:{int(second) % 60:02}")
        )
        panels[-1].set_xlabel("minutes and seconds; log-mel spectrograms, each from its 5th percentile up", fontsize=8)
        save(figure, path)
