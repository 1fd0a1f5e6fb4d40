"""musicnn's network over sounds, as an encoder."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ...encoders import Encoder, to_float32
from ...ragged import Ragged
from ...readers import LogMel, Reader
from ..tags import list_tags
from .network import BANDS, FEATURES, FRAMES, PENULTIMATE, MusicnnNetwork

# B songs, P windows, K tags

SAMPLE_RATE, FFT_SAMPLES, HOP_SAMPLES = 16000, 512, 256
GAIN = 10_000  # of the mel energies before 1 is added and the logarithm is taken
WIDTH = FEATURES + 3


def make_reader() -> LogMel:
    """The spectrogram that musicnn was trained on, in windows of 3 s, up to its scale: see `MusicnnEncoder`."""
    seconds = FRAMES * HOP_SAMPLES / SAMPLE_RATE
    return LogMel(SAMPLE_RATE, seconds, BANDS, FFT_SAMPLES, HOP_SAMPLES, f_min=0.0, floor=1 / GAIN)


class MusicnnEncoder(Encoder):
    """Sounds as musicnn's features, with three dimensions more, by which their cosine with a tag is its logit.

    A song is the mean of the features of its windows, then 1, then whatever makes all songs equally long, then 0. A tag
    is its weights, then its bias, then 0, then whatever makes all tags equally long: the product is the logit, and the
    cosine is the logit times a constant. The filled dimension hardly changes the order of songs by their cosine.

    The tags of a song can be read off its vector, of whatever length: its features are those of the vector divided by
    the 1 behind them.

    Args:
        reader: of log-mel frames as `make_reader` makes them.
        tags: the names of the outputs of the network.
        length: of the vectors before they are normalised, more than nearly all features have.
    """

    tag_weights: Tensor
    tag_biases: Tensor

    def __init__(self, reader: Reader, tags: list[str], length: float = 32.0) -> None:
        super().__init__(reader, WIDTH)
        self.tags, self.length_of_songs = list(tags), length

    def build(self, dim: int) -> None:
        """Make the network and the layer of its tags; their weights are loaded later."""
        self.network = MusicnnNetwork()
        self.register_buffer("tag_weights", torch.zeros(len(self.tags), PENULTIMATE))
        self.register_buffer("tag_biases", torch.zeros(len(self.tags)))

    def pieces(self, x: Ragged) -> Tensor:
        """One vector per window: (P, 331)."""
        return self.embed_arrays(x.dense(self.reader.shape))

    def embed_arrays(self, values: Tensor) -> Tensor:
        """Windows (P, frames, bands) -> (P, 331)."""
        decades = values / math.log(10) + math.log10(GAIN)  # log10(energy + 1 / GAIN) + log10(GAIN)
        features = to_float32(self.network(decades))
        rows = features.shape[0]  # `len` would be a constant of a traced graph
        return torch.cat([features, features.new_ones(rows, 1), features.new_zeros(rows, 2)], 1)

    def pool(self, h: Tensor, x: Ragged) -> Tensor:
        """Vectors of windows (P, 331) -> one a song (B, 331): their mean, filled up to one length."""
        return self._fill_up(x.mean(h))

    def pool_windows(self, h: Tensor) -> Tensor:
        """Vectors of P windows each (B, P, 331) -> one a song (B, 331)."""
        return self._fill_up(h.mean(1))

    def _fill_up(self, mean: Tensor) -> Tensor:
        mean = mean[:, : FEATURES + 1]
        rest = (self.length_of_songs**2 - mean.square().sum(1, keepdim=True)).clamp(min=0).sqrt()
        return torch.cat([mean, rest, torch.zeros_like(rest)], 1)

    def tag_logits(self, z: Tensor) -> Tensor:
        """The logits of the tags (B, K) of vectors (B, 331) of any length."""
        return z[:, :PENULTIMATE] / z[:, FEATURES, None] @ self.tag_weights.T + self.tag_biases

    def tag_probabilities(self, z: Tensor) -> dict[str, Tensor]:
        """See `Encoder.tag_probabilities`: those of the 50 tags, each independent of the others."""
        return dict(zip(self.tags, self.tag_logits(z).sigmoid().T, strict=True))

    def derive_cells(self, z: Tensor) -> list[dict[str, Any]]:
        """The column `tags`: the probable ones, the most probable first; see `list_tags`."""
        return list_tags(self.tags, self.tag_logits(z).sigmoid().cpu().numpy())
