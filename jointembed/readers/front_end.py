"""What of a reader tensors can compute: in one graph with an encoder, it is exported to ONNX."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .mel import LogMelSpectrogram

# B rows, N samples, T tokens or frames, P pieces, C numbers

Array = NDArray[Any]
Axes = tuple[str | int, ...]  # of a tensor: the name of an axis of any length, or a fixed length


class FrontEnd(nn.Module):
    """Turns tensors of B cells, as any program can make them, into pieces (B, P, ...), or into tokens and their mask.

    Attributes:
        axes: the axes of each tensor, by its name.
        gives_tokens: it gives token ids (B, T) and their mask (B, T).
    """

    axes: dict[str, Axes]
    gives_tokens = False

    @abstractmethod
    def tensors(self, cell: Any) -> dict[str, Array]:
        """The tensors of one cell (1, ...), by their names."""

    @abstractmethod
    def examples(self) -> dict[str, Tensor]:
        """Tensors of two rows, by their names, with which a graph is traced."""


class WindowedSound(FrontEnd):
    """Samples (B, N) from where the sound begins -> its windows (B, P, frames, bands); see `LogMel`.

    Args:
        spectrogram: samples -> frames.
        frames: of a window.
        load: a cell -> samples (N,) from where the sound begins.
    """

    def __init__(self, spectrogram: LogMelSpectrogram, frames: int, load: Callable[[Any], Array]) -> None:
        super().__init__()
        self.spectrogram, self.frames, self.load = spectrogram, frames, load
        self.axes = {"samples": ("batch", "samples")}

    def tensors(self, cell: Any) -> dict[str, Array]:
        """The samples (1, N)."""
        return {"samples": self.load(cell)[None]}

    def examples(self) -> dict[str, Tensor]:
        """Noise of two windows and more."""
        length = int(2.3 * self.frames * self.spectrogram.hop_length)
        return {"samples": 0.1 * torch.randn(2, length, generator=torch.Generator().manual_seed(0))}

    def forward(self, samples: Tensor) -> Tensor:
        """(B, N) -> (B, P, frames, bands)."""
        # Sizes of tensors that a graph computes anew for each sound, without branches: `count_windows`, and the silence
        # before a sound that is shorter than a window. The share is 1 if there is no full window, else 0; ONNX Runtime
        # (1.32) turns products with 1 // n into quotients, also those of integers, so it is written as 2 // (n + 2).
        size = self.frames
        length = 1 + samples.shape[1] // self.spectrogram.hop_length
        nearly = (length + size // 2) // size
        count = nearly + 2 // (nearly + 2)
        before = (size - length) // 2 * (2 // (length // size + 2))
        frames = self.spectrogram(samples)[:, :length]
        places = torch.arange(count * size, device=samples.device) - before
        inside = (places >= 0) & (places < length)
        filled = torch.where(inside[:, None], frames[:, places.clamp(0, length - 1)], self.spectrogram.silence)
        return filled.reshape(samples.shape[0], count, size, frames.shape[2])


class Pixels(FrontEnd):
    """Images of one size, (B, ...) in 0 to 1, as they are.

    Args:
        shape: of an image.
        load: a cell -> the image.
    """

    def __init__(self, shape: tuple[int, ...], load: Callable[[Any], Array]) -> None:
        super().__init__()
        self.shape, self.load = shape, load
        self.axes = {"pixels": ("batch", *shape)}

    def tensors(self, cell: Any) -> dict[str, Array]:
        """The pixels (1, ...)."""
        return {"pixels": self.load(cell).reshape(1, *self.shape)}

    def examples(self) -> dict[str, Tensor]:
        """Random pixels."""
        return {"pixels": torch.rand(2, *self.shape, generator=torch.Generator().manual_seed(0))}

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, ...) -> (B, 1, ...)."""
        return pixels[:, None]


class Columns(FrontEnd):
    """Numbers (B, C) in the units of the table, NaN where they are missing -> (B, 1, C).

    Args:
        count: C.
        load: a cell -> numbers (C,).
        encode: numbers (B, C) in float64 -> what the encoder reads (B, ...).
    """

    def __init__(self, count: int, load: Callable[[Any], Array], encode: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.count, self.load, self.encode = count, load, encode
        self.axes = {"numbers": ("batch", count)}

    def tensors(self, cell: Any) -> dict[str, Array]:
        """The numbers (1, C) in float64."""
        return {"numbers": np.asarray(self.load(cell), np.float64).reshape(1, self.count)}

    def examples(self) -> dict[str, Tensor]:
        """Small numbers."""
        return {"numbers": torch.linspace(-1, 2, 2 * self.count, dtype=torch.float64).reshape(2, self.count)}

    def forward(self, numbers: Tensor) -> Tensor:
        """(B, C) -> (B, 1, ...)."""
        return self.encode(numbers).float()[:, None]


class Tokens(FrontEnd):
    """Token ids (B, T) and their mask (B, T), 1 where there is a token, named as transformers names them.

    Args:
        load: a cell -> the ids (T,).
    """

    gives_tokens = True

    def __init__(self, load: Callable[[Any], Array]) -> None:
        super().__init__()
        self.load = load
        self.axes = {"input_ids": ("batch", "tokens"), "attention_mask": ("batch", "tokens")}

    def tensors(self, cell: Any) -> dict[str, Array]:
        """The ids and the mask, (1, T) each."""
        ids = np.asarray(self.load(cell), np.int64)[None]
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)}

    def examples(self) -> dict[str, Tensor]:
        """Two rows, of three and two tokens."""
        return {
            "input_ids": torch.tensor([[0, 0, 0], [0, 0, 0]]),
            "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]]),
        }

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """The ids, and the mask as booleans."""
        return input_ids, attention_mask != 0
