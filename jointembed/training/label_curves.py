"""What a model hears in a sound over time: the probabilities of labels, segment by segment, and the spectrogram.

Letters: N samples, T segments, K labels, F frames, M mel bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from .. import audio
from ..errors import UsageError
from ..readers.mel import LogMelSpectrogram

if TYPE_CHECKING:
    from .joint_embedding import JointEmbedding

Samples = NDArray[np.float32]

SEGMENTS_AT_ONCE = 64
MAX_SEGMENTS = 600  # of a longer sound, segments are further apart
MAX_FRAMES = 2000  # of the spectrogram, which is not wider in the picture
N_FFT, N_MELS, MIN_HOP = 1024, 96, 160


@dataclass(frozen=True)
class LabelCurves:
    """The probabilities of labels over the time of a sound.

    Args:
        frames: (F, M) the log-mel spectrogram of the sound, up to half of its sample rate.
        rate: the sample rate, in Hz.
        duration: of the sound, in seconds.
        seconds: the length of a segment.
        times: (T,) the middle of each segment, in seconds.
        labels: K names, the most probable in the whole sound first.
        overall: (K,) the probabilities in the whole sound.
        values: (T, K) in each segment.
        claimed: the duration that the header of a partial sound claims, 0 if it claims none; None for a whole sound.
    """

    frames: Samples
    rate: int
    duration: float
    seconds: float
    times: NDArray[np.float64]
    labels: list[str]
    overall: Samples
    values: Samples
    claimed: float | None = None


def compute(
    model: JointEmbedding, column: str, path: str | Path, target: str | None = None, seconds: float = 3.0
) -> LabelCurves:
    """Embed a sound and its segments, which overlap by half, and read off the probabilities of labels.

    Args:
        model: the model.
        column: of sounds.
        path: of the sound.
        target: a column of labels that the model was trained to predict; if not given, the tags that its encoder knows,
            or else the only such column.
        seconds: the length of a segment.

    Raises:
        UsageError: the column is not one of sounds, the model predicts no labels of it, or several columns of them.
        Undecodable: the file holds no sound.
    """
    rate = model.space.reader(column).sample_rate
    if not rate:
        raise UsageError(column, "it is not a column of sounds", "choose another --column")
    sound = audio.read_sound(path, rate)
    samples = sound.samples
    length = max(1, min(round(seconds * rate), len(samples)))
    hop = max(length // 2, -(-len(samples) // MAX_SEGMENTS), 1)
    starts = range(0, max(1, len(samples) - length + 1), hop)
    segments = [samples[start : start + length] for start in starts]
    target = target or _default_target(model, column)
    batches = [[samples]]
    batches += [segments[first : first + SEGMENTS_AT_ONCE] for first in range(0, len(segments), SEGMENTS_AT_ONCE)]
    parts = [_probabilities(model, column, [_to_cell(part, rate) for part in batch], target) for batch in batches]
    labels, overall = parts[0][0], parts[0][1][0]
    order = np.argsort(-overall, kind="stable")
    values = np.concatenate([part for _, part in parts[1:]])
    times = (np.array(starts) + length / 2) / rate
    names = [labels[place] for place in order]
    duration = len(samples) / rate
    frames, claimed = spectrogram(samples, rate), sound.claimed if sound.partial else None
    curves = overall[order], values[:, order]
    return LabelCurves(frames, rate, duration, length / rate, times, names, *curves, claimed)


def _to_cell(samples: Samples, rate: int) -> dict[str, Any]:
    return {"array": samples, "sampling_rate": rate}


def _default_target(model: JointEmbedding, column: str) -> str | None:
    """The only column of labels of a column; None if its encoder itself knows tags."""
    if model.space.tag_probabilities(column, np.ones((1, model.space.dim), np.float32)):
        return None
    targets = []
    for query, target in model.trained_pairs():
        if query == column:
            try:
                model.label_names(column, target)
            except UsageError:  # such as a column of captions
                continue
            targets.append(target)
    if len(targets) != 1:
        wrong = f"the model predicts several columns of labels: {', '.join(targets)}" if targets else (
            "the model predicts no labels of it"
        )  # fmt: skip
        raise UsageError(column, wrong, "choose one by --target" if targets else "use a model with labels or tags")
    return targets[0]


def _probabilities(
    model: JointEmbedding, column: str, cells: list[dict[str, Any]], target: str | None
) -> tuple[list[str], Samples]:
    """The labels, and the probabilities (N, K) of N cells."""
    if target is not None:
        return model.label_names(column, target), model.predict_proba(column, cells, target)
    tags = model.space.tag_probabilities(column, model.space.embed(column, cells))
    return list(tags), np.stack(list(tags.values()), 1)


def spectrogram(samples: Samples, rate: int) -> Samples:
    """Log-mel frames (F, M), F at most about `MAX_FRAMES`."""
    hop = max(MIN_HOP, len(samples) // MAX_FRAMES)
    frames: Samples = LogMelSpectrogram(rate, N_FFT, hop, N_MELS)(torch.from_numpy(samples)).numpy()
    return frames
