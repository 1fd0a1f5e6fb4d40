"""The API of the HEAR benchmark, by which its tools evaluate the audio of a trained model.

`python -m heareval.embeddings.runner jointembed.adapters.hear --model RUN ...` and `hear-validator
jointembed.adapters.hear -m RUN` take this module as it is. Source: Turian et al., HEAR: Holistic Evaluation of Audio
Representations, 2022, and hearbenchmark.com/hear-api.html.

Letters: B sounds, N samples, T timestamps, D dimension.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..space.space import Space
from .modalities import find_columns

SAMPLE_RATES = (16000, 22050, 32000, 44100, 48000)  # of the benchmark's data sets, in Hz
HOP_MS = 50.0  # from timestamp to timestamp; the tolerance of the benchmark's onsets
WINDOW_SECONDS = 1.0  # of sound around a timestamp
_WINDOWS_AT_ONCE = 256


class HearModel(nn.Module):
    """A space as the benchmark's tools see it.

    Args:
        space: with one column of sounds, or one called `audio`.

    Raises:
        UsageError: it has no such column.
    """

    def __init__(self, space: Space) -> None:
        super().__init__()
        columns = find_columns(space)
        if "audio" not in columns:
            raise UsageError("model", "none of its columns reads sounds", "use a model that was trained on audio")
        self.space, self.column = space, columns["audio"]
        rate = space.reader(self.column).sample_rate or 0
        # Sounds at another rate than the reader's are resampled by it.
        self.sample_rate = next((allowed for allowed in SAMPLE_RATES if allowed >= rate), SAMPLE_RATES[-1])
        self.scene_embedding_size = self.timestamp_embedding_size = space.dim

    def embed(self, sounds: Tensor) -> Tensor:
        """The vectors (B, D) float32 of sounds (B, N) at `sample_rate`, on their device."""
        cells = [{"array": samples, "sampling_rate": self.sample_rate} for samples in sounds.float().cpu().numpy()]
        return torch.from_numpy(self.space.embed(self.column, cells)).to(sounds.device)


def load_model(model_file_path: str | Path = "") -> HearModel:
    """Load a checkpoint, a run folder or an exported model.

    Raises:
        UsageError: no path is given, or there is no model with a column of sounds.
    """
    if not model_file_path:
        raise UsageError("model", "no model is given", "give the path of a checkpoint, a run or an exported model")
    return HearModel(Space.load(model_file_path))


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """The vectors (B, D) of whole sounds (B, N), on their device."""
    return model.embed(audio)


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """The vectors (B, T, D) of the second around every 50 ms of sounds (B, N), and their times (B, T) in ms."""
    window, hop = round(WINDOW_SECONDS * model.sample_rate), HOP_MS * model.sample_rate / 1000
    times = torch.arange(0, audio.shape[1] / model.sample_rate * 1000, HOP_MS, device=audio.device)
    starts = (torch.arange(len(times), device=audio.device) * hop).round().long()
    padded = nn.functional.pad(audio, (window // 2, window))
    samples = torch.arange(window, device=audio.device)
    parts = [starts[first : first + _WINDOWS_AT_ONCE, None] for first in range(0, len(starts), _WINDOWS_AT_ONCE)]
    vectors = [model.embed(sound[part + samples]) for sound in padded for part in parts]
    return torch.cat(vectors).view(len(audio), len(times), -1), times.expand(len(audio), -1)
