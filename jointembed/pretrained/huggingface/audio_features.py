"""Sound in windows, prepared by the feature extractors of transformers."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ... import audio
from ...errors import LEAVE_OUT, UsageError
from ...readers.reader import Array, FileReader
from ...readers.windows import WINDOWS_IN_BLOCK, consecutive, count_windows, evenly_spaced

if TYPE_CHECKING:
    from ...readers.front_end import FrontEnd

# N samples, P pieces, T frames


class PretrainedAudio(FileReader):
    """Sound in windows of a fixed length, side by side from its start, each prepared on its own.

    A cell is the path of a sound file, samples (N,) at `sampling_rate`, or {"array", "sampling_rate"}. The rest after
    the last full window becomes a window of its own if it is at least half as long as one, and is left out otherwise.
    Windows are never chosen at random. A sound shorter than a window is padded as the model does it.

    Args:
        settings: the settings of the feature extractor, as in `preprocessor_config.json`; settings that do not affect
            vectors are ignored.
    """

    windowed = True
    sample_rate: int

    extractor_class: ClassVar[str]  # the feature extractor in transformers
    setting_names: ClassVar[tuple[str, ...]]  # its settings that affect vectors
    window_length: int  # in samples
    min_samples = 1  # that a graph reads
    windows_in_block = WINDOWS_IN_BLOCK

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = {name: settings[name] for name in self.setting_names if name in settings}
        self.sample_rate = int(self._setting("sampling_rate"))

    @cached_property
    def extractor(self) -> Any:
        """The feature extractor."""
        import transformers

        return getattr(transformers, self.extractor_class)(**self._settings)

    def _setting(self, name: str) -> Any:
        """A setting; a graph is run without transformers if it is given."""
        return self._settings[name] if name in self._settings else getattr(self.extractor, name)

    @property
    def settings(self) -> dict[str, Any]:
        """All settings that affect vectors, defaults included."""
        return {name: getattr(self.extractor, name) for name in self.setting_names}

    @abstractmethod
    def front_end(self) -> FrontEnd:
        """See `Reader.front_end`: samples at `sample_rate`."""

    def tensors(self, cell: Any, in_pieces: bool = False) -> dict[str, Array]:
        """See `Reader.tensors`: samples (1, N)."""
        return {"samples": self.preprocess(cell)[None]}

    def tensor_blocks(
        self, cell: Any, in_pieces: bool = False, max_windows: int | None = None
    ) -> Iterator[dict[str, Array]]:
        """See `Reader.tensor_blocks`: a few windows of a long sound at a time."""
        for element in self.elements(cell):
            samples = self.preprocess(element)
            numbers = evenly_spaced(count_windows(len(samples), self.window_length), max_windows)
            for block in consecutive(numbers, self.windows_in_block):
                cut = samples[block[0] * self.window_length : (block[-1] + 1) * self.window_length]
                yield {"samples": np.pad(cut, (0, max(0, self.min_samples - len(cut))))[None]}

    def preprocess_config(self) -> dict[str, Any]:
        """The settings that decide the result of `preprocess`."""
        return {"sample_rate": self.sample_rate}

    def preprocess(self, cell: Any) -> Array:
        """The samples (N,) of a whole sound."""
        return audio.load(cell, self.sample_rate)

    def pieces(self, array: Array) -> list[Array]:
        """Samples (N,) -> prepared windows."""
        return self._prepare_windows(array, None)

    def windows(self, cell: Any, max_windows: int | None = None) -> list[Array]:
        """The windows of a sound; only those returned are prepared. See `Reader.windows`."""
        return self._prepare_windows(self.preprocess(cell), max_windows)

    def _prepare_windows(self, samples: Array, max_windows: int | None) -> list[Array]:
        starts = [
            number * self.window_length
            for number in evenly_spaced(count_windows(len(samples), self.window_length), max_windows)
        ]
        return [self.prepare_window(samples[start : start + self.window_length]) for start in starts]

    @abstractmethod
    def prepare_window(self, samples: Array) -> Array:
        """The samples of one window, at most `window_length` -> a piece."""

    def _extract(self, samples: Array, name: str) -> Array:
        features = self.extractor(np.ascontiguousarray(samples), sampling_rate=self.sample_rate, return_tensors="np")
        return np.asarray(features[name][0], np.float32)


class Wav2Vec2Features(PretrainedAudio):
    """Samples for wav2vec2, HuBERT and WavLM, normalised to mean 0 and variance 1 a window if `do_normalize` is set.

    These models read sounds of any length, so a short window is not padded with silence: the places after its end are
    infinity, and `PretrainedEncoder` leaves them out.

    Args:
        settings: the settings of Wav2Vec2FeatureExtractor.
        seconds: the length of a window.
        min_samples: the samples that the network needs for one frame; a shorter sound is padded with silence.
    """

    extractor_class = "Wav2Vec2FeatureExtractor"
    setting_names = ("sampling_rate", "do_normalize")
    windows_in_block = 1

    def __init__(self, settings: dict[str, Any], seconds: float = 10.0, min_samples: int = 400) -> None:
        super().__init__(settings)
        self.window_length, self.min_samples = round(seconds * self.sample_rate), min_samples

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of a window in samples."""
        return (self.window_length,)

    def front_end(self) -> FrontEnd:
        """See `Reader.front_end`: the samples (B, N) of one window, which may be shorter than `window_length`."""
        from .audio_front_ends import OneWindow

        return OneWindow(self.window_length, normalize=bool(self._setting("do_normalize")))

    def prepare_window(self, samples: Array) -> Array:
        """At most `window_length` samples -> (window_length,), with infinity after their end."""
        padded = np.pad(samples, (0, max(0, self.min_samples - len(samples))))
        piece = np.full(self.window_length, np.inf, np.float32)
        values = self._extract(padded, "input_values")
        piece[: len(values)] = values
        return piece


class PeAudioFeatures(Wav2Vec2Features):
    """Samples for the audio encoder of PE-AV, a short window mirrored at its end to a whole number of frames.

    Args:
        settings: the settings of PeAudioFeatureExtractor.
        seconds: about the length of a window, which is a whole number of frames.
    """

    extractor_class = "PeAudioFeatureExtractor"
    setting_names = ("sampling_rate", "hop_length")

    def __init__(self, settings: dict[str, Any], seconds: float = 10.0) -> None:
        super().__init__(settings, seconds, min_samples=1)
        self.hop = int(self._setting("hop_length"))
        self.window_length = max(1, round(self.window_length / self.hop)) * self.hop

    def front_end(self) -> FrontEnd:
        """See `Wav2Vec2Features.front_end`."""
        from .audio_front_ends import OneWindow

        return OneWindow(self.window_length, hop=self.hop)

    def _extract(self, samples: Array, name: str) -> Array:
        return super()._extract(samples, name).reshape(-1)


class AstFeatures(PretrainedAudio):
    """Kaldi's log-mel filter bank for the Audio Spectrogram Transformer (Gong et al. 2021), (frames, bands).

    A short window is padded with frames of 0 before normalisation, as in the training of the model.

    Args:
        settings: the settings of ASTFeatureExtractor.
    """

    extractor_class = "ASTFeatureExtractor"
    setting_names = ("sampling_rate", "num_mel_bins", "max_length", "do_normalize", "mean", "std")

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        # Kaldi's frames are 25 ms long, start every 10 ms, and lie entirely inside the sound.
        self.frame = int(self.sample_rate * 0.025)
        self.window_length = (self._setting("max_length") - 1) * int(self.sample_rate * 0.010) + self.frame

    @property
    def shape(self) -> tuple[int, ...]:
        """Frames and bands of a window."""
        return (self._setting("max_length"), self._setting("num_mel_bins"))

    def front_end(self) -> FrontEnd:
        """See `PretrainedAudio.front_end`."""
        from .audio_front_ends import KaldiMel, SideBySide

        return SideBySide(self.window_length, KaldiMel(self.extractor, self.frame))

    def prepare_window(self, samples: Array) -> Array:
        """At most `window_length` samples -> (frames, bands)."""
        return self._extract(np.pad(samples, (0, max(0, self.frame - len(samples)))), "input_values")


class ClapFeatures(PretrainedAudio):
    """The log-mel spectrogram of CLAP (Wu et al. 2023), (1, frames, bands), or (4, frames, bands) with fusion.

    CLAP's own extractor crops long sounds at random (`rand_trunc`), or stacks three random crops and the whole sound
    scaled down (`fusion`). Here a long sound is cut into fixed windows, and the model sees each as a short sound, so
    that its vector is always the same. A short window is repeated and padded with silence, as `padding` says. The
    spectrogram equals that of transformers, which computes one frame at a time and takes more than twice as long.

    Args:
        settings: the settings of ClapFeatureExtractor.
    """

    extractor_class = "ClapFeatureExtractor"
    setting_names = (
        "feature_size",
        "sampling_rate",
        "hop_length",
        "max_length_s",
        "fft_window_size",
        "frequency_min",
        "frequency_max",
        "truncation",
        "padding",
    )

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self.window_length = int(self._setting("max_length_s") * self.sample_rate)

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, frames and bands of a window."""
        channels = 4 if self._setting("truncation") == "fusion" else 1
        return (channels, self.window_length // self._setting("hop_length") + 1, self._setting("feature_size"))

    def front_end(self) -> FrontEnd:
        """See `PretrainedAudio.front_end`.

        Raises:
            UsageError: the model fuses several spectrograms.
        """
        from .audio_front_ends import ClapMel, SideBySide

        if self.shape[0] > 1:
            wrong = "its network chooses what it computes by its input (fusion), which is not exported to ONNX"
            raise UsageError(type(self).__name__, wrong, LEAVE_OUT)
        return SideBySide(self.window_length, ClapMel(self.extractor))

    def prepare_window(self, samples: Array) -> Array:
        """At most `window_length` samples -> (channels, frames, bands)."""
        from transformers.audio_utils import window_function

        extractor = self.extractor
        if len(samples) and extractor.padding in ("repeat", "repeatpad"):
            times = self.window_length / len(samples)
            samples = np.tile(samples, math.ceil(times) if extractor.padding == "repeat" else int(times))
        samples = np.pad(samples[: self.window_length], (0, max(0, self.window_length - len(samples))))
        half = extractor.fft_window_size // 2
        # In float64, as in transformers: float32 rounding would be audible where there is hardly any energy.
        padded = np.pad(samples.astype(np.float64), half, mode="reflect")
        frames = sliding_window_view(padded, extractor.fft_window_size)[:: extractor.hop_length]
        spectrum = np.fft.rfft(frames * window_function(extractor.fft_window_size, "hann"))
        filters = extractor.mel_filters if extractor.truncation == "fusion" else extractor.mel_filters_slaney
        energy = (spectrum.real**2 + spectrum.imag**2) @ filters
        mel = 10 * np.log10(np.maximum(energy, 1e-10))
        return np.repeat(mel[None].astype(np.float32), self.shape[0], axis=0)


class WhisperFeatures(PretrainedAudio):
    """The log-mel spectrogram of Whisper (Radford et al. 2022), (bands + 1, frames).

    A short window is padded with silence; the last row is 1 where there is sound and 0 after it.

    Args:
        settings: the settings of WhisperFeatureExtractor; its random dither is off.
    """

    extractor_class = "WhisperFeatureExtractor"
    setting_names = ("feature_size", "sampling_rate", "hop_length", "chunk_length", "n_fft")

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self.window_length = int(self._setting("chunk_length") * self.sample_rate)

    @property
    def shape(self) -> tuple[int, ...]:
        """Bands and one more row, and frames of a window."""
        return (self._setting("feature_size") + 1, self.window_length // self._setting("hop_length"))

    def front_end(self) -> FrontEnd:
        """See `PretrainedAudio.front_end`."""
        from .audio_front_ends import SideBySide, WhisperMel

        return SideBySide(self.window_length, WhisperMel(self.extractor))

    def prepare_window(self, samples: Array) -> Array:
        """At most `window_length` samples -> (bands + 1, frames)."""
        mel = self._extract(samples, "input_features")
        mask = np.arange(mel.shape[1]) * self.extractor.hop_length < len(samples)
        return np.concatenate([mel, mask[None].astype(np.float32)])


class Gemma4Features(PretrainedAudio):
    """The log-mel spectrogram of Gemma 4, (frames, bands + 1).

    The last number of a frame is 1 where the frame lies entirely inside the sound, and 0 after it.

    Args:
        settings: the settings of Gemma4AudioFeatureExtractor; its random dither is off.
        seconds: the length of a window; its own extractor cuts off a sound there.
    """

    extractor_class = "Gemma4AudioFeatureExtractor"
    setting_names = (
        "feature_size",
        "sampling_rate",
        "min_frequency",
        "max_frequency",
        "preemphasis",
        "preemphasis_htk_flavor",
        "fft_overdrive",
        "input_scale_factor",
        "mel_floor",
        "per_bin_mean",
        "per_bin_stddev",
    )

    def __init__(self, settings: dict[str, Any], seconds: float = 30.0) -> None:
        super().__init__(settings)
        self.window_length = round(seconds * self.sample_rate)
        self.hop = round(self.sample_rate * 0.010)
        # A frame begins half its length, which is 20 ms, before a multiple of the hop, and one more sample follows it.
        self.min_samples = round(self.sample_rate * 0.020) // 2 + 1

    @property
    def settings(self) -> dict[str, Any]:
        """All settings that affect vectors, defaults included."""
        return {
            name: np.ravel(value).tolist() if name.startswith("per_bin") and value is not None else value
            for name, value in super().settings.items()
        } | {"mel_floor": float(self.extractor.mel_floor)}

    @property
    def shape(self) -> tuple[int, ...]:
        """Frames of a window, and bands and one more."""
        frames = (self.window_length - self.min_samples) // self.hop + 1
        return (frames, self._setting("feature_size") + 1)

    def front_end(self) -> FrontEnd:
        """See `PretrainedAudio.front_end`."""
        from .audio_front_ends import Gemma4Mel, SideBySide

        return SideBySide(self.window_length, Gemma4Mel(self.extractor))

    def prepare_window(self, samples: Array) -> Array:
        """At most `window_length` samples -> (frames, bands + 1)."""
        padded = np.pad(samples, (0, max(0, self.min_samples - len(samples))))
        features = self.extractor([padded], return_tensors="np")
        piece = np.zeros(self.shape, np.float32)
        frames = features["input_features"][0][: len(piece)]
        piece[: len(frames), :-1] = frames
        piece[: len(frames), -1] = features["input_features_mask"][0][: len(piece)]
        return piece
