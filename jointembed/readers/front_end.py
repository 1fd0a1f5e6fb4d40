"""What of a reader tensors can compute: in one graph with an encoder, it is exported to ONNX."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..errors import LEAVE_OUT, UsageError
from .mel import LogMelSpectrogram

# B rows, N samples, T tokens or frames, P pieces, K windows, C numbers

Axes = tuple[str | int, ...]  # of a tensor: the name of an axis of any length, or a fixed length


class FrontEnd(nn.Module):
    """Turns tensors, as `Reader.tensors` and any other program make them, into pieces, or tokens and their mask.

    Pieces are (B, P, ...). Tokens are (B, T), or (B, P, T) if a row has several pieces.

    Attributes:
        axes: the axes of each tensor, by its name.
        gives_tokens: it gives token ids and their mask.
        defaults: the tensors that may be left out, as they are then.
    """

    axes: dict[str, Axes]
    gives_tokens = False
    defaults: dict[str, Tensor] = {}

    @abstractmethod
    def examples(self) -> dict[str, Tensor]:
        """Tensors of two rows, by their names, with which a graph is traced."""

    def in_pieces(self) -> FrontEnd:
        """The front end of rows of several pieces.

        Raises:
            UsageError: it has none.
        """
        raise UsageError(type(self).__name__, "reading several of them in order is not exported to ONNX", LEAVE_OUT)


class WindowedSound(FrontEnd):
    """Samples (B, N) from where the sound begins -> its windows (B, P, frames, bands); see `LogMel`.

    The frames (K,) at which windows start may be given too; without them all windows are computed, side by side.

    Args:
        spectrogram: samples -> frames.
        frames: of a window.
    """

    def __init__(self, spectrogram: LogMelSpectrogram, frames: int) -> None:
        super().__init__()
        self.spectrogram, self.frames = spectrogram, frames
        self.axes = {"samples": ("batch", "samples"), "starts": ("windows",)}
        self.defaults = {"starts": torch.zeros(0, dtype=torch.int64)}

    def examples(self) -> dict[str, Tensor]:
        """Noise of two windows and more."""
        length = int(2.3 * self.frames * self.spectrogram.hop_length)
        noise = 0.1 * torch.randn(2, length, generator=torch.Generator().manual_seed(0))
        return {"samples": noise, "starts": torch.tensor([self.frames, 0])}

    def in_pieces(self) -> FrontEnd:
        """Itself: windows are pieces."""
        return self

    def forward(self, samples: Tensor, starts: Tensor) -> Tensor:
        """(B, N), (K,) -> (B, P, frames, bands)."""
        # Sizes of tensors that a graph computes anew for each sound, without branches: `count_windows`, and the silence
        # before a sound that is shorter than a window. The share is 1 if there is no full window, else 0; ONNX Runtime
        # (1.32) turns products with 1 // n into quotients, also those of integers, so it is written as 2 // (n + 2).
        size = self.frames
        length = 1 + samples.shape[1] // self.spectrogram.hop_length
        nearly = (length + size // 2) // size
        count = nearly + 2 // (nearly + 2)
        before = (size - length) // 2 * (2 // (length // size + 2))
        frames = self.spectrogram(samples)[:, :length]
        every = torch.arange(count * (2 // (starts.shape[0] + 2)), device=samples.device) * size - before
        places = (torch.cat([starts, every])[:, None] + torch.arange(size, device=samples.device)).flatten()
        inside = (places >= 0) & (places < length)
        filled = torch.where(inside[:, None], frames[:, places.clamp(0, length - 1)], self.spectrogram.silence)
        return filled.reshape(filled.shape[0], -1, size, filled.shape[2])


class Pixels(FrontEnd):
    """Images of one size, (B, ...) in 0 to 1, as they are.

    Args:
        shape: of an image.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.axes = {"pixels": ("batch", *shape)}

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
        encode: numbers (B, C) in float64 -> what the encoder reads (B, ...).
    """

    def __init__(self, count: int, encode: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.count, self.encode = count, encode
        self.axes = {"numbers": ("batch", count)}

    def examples(self) -> dict[str, Tensor]:
        """Small numbers."""
        return {"numbers": torch.linspace(-1, 2, 2 * self.count, dtype=torch.float64).reshape(2, self.count)}

    def forward(self, numbers: Tensor) -> Tensor:
        """(B, C) -> (B, 1, ...)."""
        return self.encode(numbers).float()[:, None]


class Tokens(FrontEnd):
    """Token ids (B, T) and their mask (B, T), 1 where there is a token, named as transformers names them."""

    gives_tokens = True
    axes = {"input_ids": ("batch", "tokens"), "attention_mask": ("batch", "tokens")}

    def examples(self) -> dict[str, Tensor]:
        """Two rows, of three and two tokens."""
        return {"input_ids": torch.zeros(2, 3).long(), "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]])}

    def in_pieces(self) -> FrontEnd:
        """The same with an axis for the pieces."""
        return PieceTokens()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """The ids, and the mask as booleans."""
        return input_ids, attention_mask != 0


class PieceTokens(Tokens):
    """Token ids (B, P, T) of rows of P pieces, and their mask; see `Tokens`."""

    axes = {name: ("batch", "pieces", "tokens") for name in Tokens.axes}

    def examples(self) -> dict[str, Tensor]:
        """Two rows of four pieces, of at most three tokens."""
        return {name: tensor[:, None].expand(2, 4, 3).clone() for name, tensor in super().examples().items()}

    def in_pieces(self) -> FrontEnd:
        """Itself."""
        return self
