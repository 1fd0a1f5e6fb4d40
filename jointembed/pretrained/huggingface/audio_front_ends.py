"""The feature extractors of transformers as tensors, to be exported to ONNX in one graph with a network."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...readers.front_end import FrontEnd

# B rows, N samples, P windows, L samples of a window, T frames


def _window_of_noise(length: int, seconds: float) -> Tensor:
    return 0.1 * torch.randn(2, round(seconds * length), generator=torch.Generator().manual_seed(0))


class OneWindow(FrontEnd):
    """Samples (B, N) of one window, which may be shorter than a full one -> (B, 1, N), as wav2vec2 and PE-AV read them.

    A longer sound is cut into windows before, because its last one may be shorter than the others.

    Args:
        length: of a full window.
        normalize: to mean 0 and variance 1.
        hop: mirror the end, so that the length is a multiple of it.
    """

    axes = {"samples": ("batch", "samples")}

    def __init__(self, length: int, normalize: bool = False, hop: int = 1) -> None:
        super().__init__()
        self.length, self.normalize, self.hop = length, normalize, hop

    def examples(self) -> dict[str, Tensor]:
        """Noise of most of a window."""
        return {"samples": _window_of_noise(self.length, 0.7)}

    def in_pieces(self) -> FrontEnd:
        """Itself: a row has one piece."""
        return self

    def forward(self, samples: Tensor) -> Tensor:
        """(B, N) -> (B, 1, N)."""
        if self.hop > 1:
            size = samples.shape[1]
            places = torch.arange((size + self.hop - 1) // self.hop * self.hop, device=samples.device)
            last = torch.arange(size, device=samples.device)[-1:]
            period = (2 * last).clamp(min=1)  # of samples forth and back; ONNX needs it as a tensor
            samples = samples[:, torch.minimum(places % period, period - places % period)]
        if self.normalize:
            centred = samples - samples.mean(1, keepdim=True)
            samples = centred / (centred.square().mean(1, keepdim=True) + 1e-7).sqrt()
        return samples[:, None]


class SideBySide(FrontEnd):
    """Samples (B, N) of whole sounds -> their windows (B, P, ...), side by side; see `PretrainedAudio`.

    Args:
        length: L.
        features: windows (P, L), and how many samples of each belong to the sound (P,) -> (P, ...).
    """

    axes = {"samples": ("batch", "samples")}

    def __init__(self, length: int, features: nn.Module) -> None:
        super().__init__()
        self.length, self.features = length, features

    def examples(self) -> dict[str, Tensor]:
        """Noise of two windows and more."""
        return {"samples": _window_of_noise(self.length, 2.3)}

    def in_pieces(self) -> FrontEnd:
        """Itself: windows are pieces."""
        return self

    def forward(self, samples: Tensor) -> Tensor:
        """(B, N) -> (B, P, ...)."""
        # `count_windows` without branches; see `WindowedSound`.
        nearly = (samples.shape[1] + self.length // 2) // self.length
        count = nearly + 2 // (nearly + 2)
        places = torch.arange(count * self.length, device=samples.device)
        last = samples.shape[1] - 1
        windows = torch.where(places <= last, samples[:, places.clamp(max=last)], 0.0).reshape(-1, self.length)
        starts = torch.arange(count, device=samples.device) * self.length
        sizes = (last + 1 - starts).clamp(max=self.length)
        pieces = self.features(windows, sizes.expand(samples.shape[0], -1).flatten())
        return cast(Tensor, pieces.reshape(samples.shape[0], -1, *pieces.shape[1:]))


class _Mel(nn.Module):
    """Frames (P, T, n) -> their energy in the bands of a filter bank (P, T, bands), in float64.

    Args:
        window: (n,).
        filters: (frequencies, bands).
        fft_length: of the Fourier transform.
        power: of the absolute value of the spectrum.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, window: Any, filters: Any, fft_length: int, power: int = 2) -> None:
        super().__init__()
        self.fft_length, self.power = fft_length, power
        self.register_buffer("window", torch.as_tensor(window).double().clone(), persistent=False)
        self.register_buffer("filters", torch.as_tensor(filters).double().clone(), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """(P, T, n) -> (P, T, bands)."""
        frames = F.pad(frames.double() * self.window, (0, self.fft_length - len(self.window)))
        squares = torch.view_as_real(torch.fft.rfft(frames)).square()
        energy = squares[..., 0] + squares[..., 1]
        return (energy if self.power == 2 else energy.sqrt()) @ self.filters


class _CentredFrames(nn.Module):
    """Windows (P, L), mirrored at both ends -> frames (P, T, n) round the multiples of a hop.

    Args:
        length: L.
        frame: n.
        hop: samples from frame to frame.
    """

    places: Tensor

    def __init__(self, length: int, frame: int, hop: int) -> None:
        super().__init__()
        self.frame, self.hop = frame, hop
        places = np.pad(np.arange(length), frame // 2, mode="reflect")
        self.register_buffer("places", torch.from_numpy(places), persistent=False)

    def forward(self, windows: Tensor) -> Tensor:
        """(P, L) -> (P, T, n)."""
        return windows[:, self.places].unfold(1, self.frame, self.hop)


class ClapMel(nn.Module):
    """The log-mel spectrogram of CLAP; see `ClapFeatures`.

    Args:
        extractor: ClapFeatureExtractor, without fusion.
    """

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        from transformers.audio_utils import window_function

        self.padding, frame = extractor.padding, extractor.fft_window_size
        self.frames = _CentredFrames(int(extractor.nb_max_samples), frame, extractor.hop_length)
        self.mel = _Mel(window_function(frame, "hann"), extractor.mel_filters_slaney, frame)

    def forward(self, windows: Tensor, sizes: Tensor) -> Tensor:
        """(P, L), (P,) -> (P, 1, T, bands)."""
        length = windows.shape[1]
        if self.padding in ("repeat", "repeatpad"):
            places = torch.arange(length, device=windows.device)
            copies = windows.gather(1, places % sizes[:, None])
            whole = torch.full_like(sizes, length) // sizes * sizes  # ONNX needs the length as a tensor
            windows = copies if self.padding == "repeat" else torch.where(places < whole[:, None], copies, 0.0)
        mel = 10 * self.mel(self.frames(windows)).clamp(min=1e-10).log10()
        spectrogram: Tensor = mel.float()[:, None]
        return spectrogram


class WhisperMel(nn.Module):
    """The log-mel spectrogram of Whisper; see `WhisperFeatures`.

    Args:
        extractor: WhisperFeatureExtractor.
    """

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        self.hop = extractor.hop_length
        self.frames = _CentredFrames(int(extractor.n_samples), extractor.n_fft, self.hop)
        self.mel = _Mel(torch.hann_window(extractor.n_fft), extractor.mel_filters, extractor.n_fft)

    def forward(self, windows: Tensor, sizes: Tensor) -> Tensor:
        """(P, L), (P,) -> (P, bands + 1, T)."""
        mel = self.mel(self.frames(windows)[:, :-1]).clamp(min=1e-10).log10()
        mel = (torch.maximum(mel, mel.amax((1, 2), keepdim=True) - 8) + 4) / 4
        inside = torch.arange(mel.shape[1], device=windows.device) * self.hop < sizes[:, None]
        return torch.cat([mel.float(), inside[..., None].float()], 2).transpose(1, 2)


class KaldiMel(nn.Module):
    """Kaldi's log-mel filter bank for AST; see `AstFeatures`.

    Args:
        extractor: ASTFeatureExtractor.
        frame: samples of a frame.
    """

    def __init__(self, extractor: Any, frame: int) -> None:
        super().__init__()
        self.frame, self.hop = frame, int(extractor.sampling_rate * 0.010)
        self.mean = float(extractor.mean) if extractor.do_normalize else 0.0
        self.deviation = float(extractor.std) * 2 if extractor.do_normalize else 1.0
        fft_length = 2 ** math.ceil(math.log2(frame))
        if hasattr(extractor, "mel_filters"):  # it prepares sounds without torchaudio
            filters = torch.from_numpy(extractor.mel_filters)
        else:
            from torchaudio.compliance.kaldi import get_mel_banks

            bands = (extractor.num_mel_bins, fft_length, extractor.sampling_rate, 20.0, 0.0, 100.0, -500.0, 1.0)
            filters = F.pad(get_mel_banks(*bands)[0], (0, 1)).T
        self.mel = _Mel(torch.hann_window(frame, periodic=False), filters, fft_length)

    def forward(self, windows: Tensor, sizes: Tensor) -> Tensor:
        """(P, L), (P,) -> (P, T, bands)."""
        frames = windows.unfold(1, self.frame, self.hop).double()
        frames = frames - frames.mean(2, keepdim=True)
        frames = frames - 0.97 * torch.cat([frames[..., :1], frames[..., :-1]], 2)
        mel = self.mel(frames).clamp(min=torch.finfo(torch.float32).eps).log()
        inside = torch.arange(mel.shape[1], device=windows.device) * self.hop <= (sizes[:, None] - self.frame).clamp(0)
        normalized: Tensor = (torch.where(inside[..., None], mel, 0.0) - self.mean) / self.deviation
        return normalized.float()


class Gemma4Mel(nn.Module):
    """The log-mel spectrogram of Gemma 4; see `Gemma4Features`.

    Args:
        extractor: Gemma4AudioFeatureExtractor.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        self.frame, self.hop, self.scale = extractor.frame_length, extractor.hop_length, extractor.input_scale_factor
        self.preemphasis, self.as_htk = extractor.preemphasis, extractor.preemphasis_htk_flavor
        self.floor = float(extractor.mel_floor)
        self.mel = _Mel(extractor.window, extractor.mel_filters, extractor.fft_length, power=1)
        mean, deviation = extractor.per_bin_mean, extractor.per_bin_stddev
        self.register_buffer("mean", torch.as_tensor(0.0 if mean is None else mean[0]).double(), persistent=False)
        self.register_buffer(
            "deviation", torch.as_tensor(1.0 if deviation is None else deviation[0]).double(), persistent=False
        )

    def forward(self, windows: Tensor, sizes: Tensor) -> Tensor:
        """(P, L), (P,) -> (P, T, bands + 1)."""
        before = self.frame // 2
        frames = F.pad(windows * self.scale, (before, 0)).unfold(1, self.frame + 1, self.hop).double()
        if self.preemphasis and self.as_htk:
            first = frames[..., :1] * (1 - self.preemphasis)
            frames = torch.cat([first, frames[..., 1:-1] - self.preemphasis * frames[..., :-2]], 2)
        elif self.preemphasis:
            frames = frames[..., 1:] - self.preemphasis * frames[..., :-1]
        else:
            frames = frames[..., :-1]
        mel = ((self.mel(frames) + self.floor).log() - self.mean) / self.deviation
        lasts = torch.arange(mel.shape[1], device=windows.device) * self.hop + self.frame - before
        inside = (lasts < sizes[:, None].clamp(min=self.frame - before + 1))[..., None]
        return torch.cat([torch.where(inside, mel, 0.0), inside.double()], 2).float()
