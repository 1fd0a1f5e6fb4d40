"""Sound in windows, prepared by the feature extractors of transformers: just as pretrained models were trained with."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ... import audio
from ...readers.reader import Array, FileReader, count_windows, evenly_spaced

# N samples, P pieces, T frames


class PretrainedAudio(FileReader):
    """Sound in windows of a fixed length, side by side from its start; each is prepared by itself.

    A cell is the path of a sound file, samples (N,) at `sampling_rate`, or {"array", "sampling_rate"}. The rest after
    the last whole window becomes a window of its own if it is at least half as long as one, and is left out otherwise.
    Nothing is cut out at random, and nothing is taken twice. A sound shorter than a window is one, filled up as the
    model itself does it.

    Args:
        settings: of the feature extractor, as they stand in `preprocessor_config.json`; those that decide no vector are
            passed over.
    """

    windowed = True
    sample_rate: int

    maker: ClassVar[str]  # the class of transformers that prepares a window
    takes: ClassVar[tuple[str, ...]]  # its settings that decide a vector
    span: int  # samples of a window

    def __init__(self, settings: dict[str, Any]) -> None:
        import transformers

        self.extractor = getattr(transformers, self.maker)(
            **{name: settings[name] for name in self.takes if name in settings}
        )
        self.sample_rate = int(self.extractor.sampling_rate)

    @property
    def settings(self) -> dict[str, Any]:
        """All settings that decide a vector, also those that were not given."""
        return {name: getattr(self.extractor, name) for name in self.takes}

    def preprocess_config(self) -> dict[str, Any]:
        """The settings that decide the result of `preprocess`."""
        return {"sample_rate": self.sample_rate}

    def preprocess(self, cell: Any) -> Array:
        """The samples (N,) of a whole sound."""
        return audio.load(cell, self.sample_rate)

    def pieces(self, array: Array) -> list[Array]:
        """Samples (N,) -> a prepared window a piece."""
        return self._prepare_windows(array, None)

    def windows(self, cell: Any, max_windows: int | None = None) -> list[Array]:
        """The windows of a sound, of which only those that are asked for are prepared; see `Reader.windows`."""
        return self._prepare_windows(self.preprocess(cell), max_windows)

    def _prepare_windows(self, samples: Array, max_windows: int | None) -> list[Array]:
        starts = [number * self.span for number in evenly_spaced(count_windows(len(samples), self.span), max_windows)]
        return [self.prepared(samples[start : start + self.span]) for start in starts]

    @abstractmethod
    def prepared(self, samples: Array) -> Array:
        """The samples of one window (at most `span`) -> a piece."""

    def _extracted(self, samples: Array, name: str) -> Array:
        made = self.extractor(np.ascontiguousarray(samples), sampling_rate=self.sample_rate, return_tensors="np")
        return np.asarray(made[name][0], np.float32)


class Wav2Vec2Features(PretrainedAudio):
    """Samples for wav2vec2, HuBERT and WavLM, brought to mean 0 and variance 1 a window where `do_normalize` says so.

    These models hear sounds of any length, so a short window is not filled up: the places after its end hold infinity,
    which `Pretrained` leaves out.

    Args:
        settings: of Wav2Vec2FeatureExtractor.
        seconds: the length of a window.
        least: samples that the network needs for one frame; a shorter sound is filled up with silence.
    """

    maker = "Wav2Vec2FeatureExtractor"
    takes = ("sampling_rate", "do_normalize")

    def __init__(self, settings: dict[str, Any], seconds: float = 10.0, least: int = 400) -> None:
        super().__init__(settings)
        self.span, self.least = round(seconds * self.sample_rate), least

    @property
    def shape(self) -> tuple[int, ...]:
        """Samples of a window."""
        return (self.span,)

    def prepared(self, samples: Array) -> Array:
        """At most `span` samples -> (span,), with infinity after the end."""
        filled = np.pad(samples, (0, max(0, self.least - len(samples))))
        piece = np.full(self.span, np.inf, np.float32)
        piece[: len(filled)] = self._extracted(filled, "input_values")
        return piece


class AstFeatures(PretrainedAudio):
    """Kaldi's log-mel filter bank for the Audio Spectrogram Transformer (Gong et al. 2021), (frames, bands).

    A short window is filled up with frames of 0 before the normalisation, as the model was trained.

    Args:
        settings: of ASTFeatureExtractor.
    """

    maker = "ASTFeatureExtractor"
    takes = ("sampling_rate", "num_mel_bins", "max_length", "do_normalize", "mean", "std")

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        # Kaldi's frames are 25 ms long, one every 10 ms, and lie whole inside the sound.
        self.frame = int(self.sample_rate * 0.025)
        self.span = (self.extractor.max_length - 1) * int(self.sample_rate * 0.010) + self.frame

    @property
    def shape(self) -> tuple[int, ...]:
        """Frames and bands of a window."""
        return (self.extractor.max_length, self.extractor.num_mel_bins)

    def prepared(self, samples: Array) -> Array:
        """At most `span` samples -> (frames, bands)."""
        return self._extracted(np.pad(samples, (0, max(0, self.frame - len(samples)))), "input_values")


class ClapFeatures(PretrainedAudio):
    """The log-mel spectrogram of CLAP (Wu et al. 2023), (1, frames, bands), or (4, frames, bands) with fusion.

    CLAP's own extractor cuts long sounds at random (`rand_trunc`), or puts three random cuts of them beside the whole
    in miniature (`fusion`). Here they are fixed windows, each a short sound to the model, so that a sound has one
    vector. A short window is repeated and filled up with silence, as `padding` says. The spectrogram is transformers'
    own computed at once: it takes one frame after the other, more than twice as long.

    Args:
        settings: of ClapFeatureExtractor.
    """

    maker = "ClapFeatureExtractor"
    takes = (
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
        self.span = int(self.extractor.nb_max_samples)

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, frames and bands of a window."""
        channels = 4 if self.extractor.truncation == "fusion" else 1
        return (channels, self.span // self.extractor.hop_length + 1, self.extractor.feature_size)

    def prepared(self, samples: Array) -> Array:
        """At most `span` samples -> (channels, frames, bands)."""
        from transformers.audio_utils import window_function

        made = self.extractor
        if len(samples) and made.padding in ("repeat", "repeatpad"):
            times = self.span / len(samples)
            samples = np.tile(samples, math.ceil(times) if made.padding == "repeat" else int(times))
        samples = np.pad(samples[: self.span], (0, max(0, self.span - len(samples))))
        half = made.fft_window_size // 2
        # As there in float64: where there is hardly any energy, that of float32's rounding would be heard.
        padded = np.pad(samples.astype(np.float64), half, mode="reflect")
        frames = sliding_window_view(padded, made.fft_window_size)[:: made.hop_length]
        spectrum = np.fft.rfft(frames * window_function(made.fft_window_size, "hann"))
        filters = made.mel_filters if made.truncation == "fusion" else made.mel_filters_slaney
        energy = (spectrum.real**2 + spectrum.imag**2) @ filters
        mel = 10 * np.log10(np.maximum(energy, 1e-10))
        return np.repeat(mel[None].astype(np.float32), self.shape[0], axis=0)


class WhisperFeatures(PretrainedAudio):
    """The log-mel spectrogram of Whisper (Radford et al. 2022), (bands + 1, frames).

    A short window is filled up with silence to its whole length; the last row is 1 where there is sound and 0 after it.

    Args:
        settings: of WhisperFeatureExtractor; its random dither is never used.
    """

    maker = "WhisperFeatureExtractor"
    takes = ("feature_size", "sampling_rate", "hop_length", "chunk_length", "n_fft")

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self.span = int(self.extractor.n_samples)

    @property
    def shape(self) -> tuple[int, ...]:
        """Bands and one row more, and frames of a window."""
        return (self.extractor.feature_size + 1, self.extractor.nb_max_frames)

    def prepared(self, samples: Array) -> Array:
        """At most `span` samples -> (bands + 1, frames)."""
        mel = self._extracted(samples, "input_features")
        heard = np.arange(mel.shape[1]) * self.extractor.hop_length < len(samples)
        return np.concatenate([mel, heard[None].astype(np.float32)])
