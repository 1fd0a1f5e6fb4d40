"""Models of sound: AST, wav2vec2, HuBERT, WavLM, the encoder of Whisper, and the audio encoder of CLAP."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...encoders import to_float32
from ...ragged import Ragged
from ...readers import Reader
from ...space.space import Space
from .audio_features import (
    AstFeatures,
    ClapFeatures,
    Gemma4Features,
    PeAudioFeatures,
    PretrainedAudio,
    Wav2Vec2Features,
    WhisperFeatures,
)
from .encoder import Architecture, PretrainedEncoder
from .folder import ModelFolder

# B windows, P pieces, T steps, W width

WINDOWS_IN_BATCH = 4  # a quarter faster than single windows, in bfloat16 on a CPU; more gain little
READERS: dict[str, type[PretrainedAudio]] = {
    "clap": ClapFeatures,
    "pe_audio": PeAudioFeatures,
    "pe_audio_video": PeAudioFeatures,
    "embedding_gemma2": Gemma4Features,
    "audio-spectrogram-transformer": AstFeatures,
    "wav2vec2": Wav2Vec2Features,
    "hubert": Wav2Vec2Features,
    "wavlm": Wav2Vec2Features,
    "whisper": WhisperFeatures,
}


def _embed_clap_audio(network: nn.Module, windows: Tensor) -> Tensor:
    """(B, C, T, bands) -> (B, W), unit vectors as `ClapModel` returns them."""
    longer = torch.zeros(len(windows), 1, dtype=torch.bool, device=windows.device)  # than the windows of the model
    return F.normalize(to_float32(network(input_features=windows, is_longer=longer).audio_embeds), dim=-1)


def _embed_patches(network: nn.Module, windows: Tensor) -> Tensor:
    """(B, T, bands) -> (B, W): the model's own pooling, the mean of its class and distillation tokens."""
    return to_float32(network(windows).pooler_output)


def _embed_samples(network: nn.Module, windows: Tensor) -> Tensor:
    """(B, N) -> (B, W): the mean over the frames of the last layer."""
    return to_float32(network(windows).last_hidden_state).mean(1)


def _embed_speech(network: nn.Module, windows: Tensor) -> Tensor:
    """(B, bands + 1, T) -> (B, W): the mean over those frames of the last layer that begin in the sound."""
    steps = to_float32(network(windows[:, :-1]).last_hidden_state)  # (B, T / 2, W)
    mask = windows[:, -1, ::2, None]
    return (steps * mask).sum(1) / mask.sum(1)


class PretrainedAudioEncoder(PretrainedEncoder):
    """A network of transformers over sounds: CLAP's, AST, wav2vec2, HuBERT, WavLM, or the encoder of Whisper.

    The vector of a window is that of the model: CLAP's projection, AST's pooler output, the mean over the frames of the
    last layer for the others. The vector of a sound is the mean over its windows.

    Args:
        reader: prepares sounds as in the training of the network.
        architecture: `clap_audio_model`, `audio-spectrogram-transformer`, `wav2vec2`, `hubert`, `wavlm` or `whisper`.
        config: its settings, as in `config.json` of transformers.
    """

    architectures: ClassVar[dict[str, Architecture]] = {
        "clap_audio_model": Architecture(
            "clap", "ClapAudioConfig", "ClapAudioModelWithProjection", _embed_clap_audio, "projection_dim"
        ),
        "audio-spectrogram-transformer": Architecture(
            "audio_spectrogram_transformer", "ASTConfig", "ASTModel", _embed_patches
        ),
        "wav2vec2": Architecture("wav2vec2", "Wav2Vec2Config", "Wav2Vec2Model", _embed_samples),
        "hubert": Architecture("hubert", "HubertConfig", "HubertModel", _embed_samples),
        "wavlm": Architecture("wavlm", "WavLMConfig", "WavLMModel", _embed_samples),
        "whisper": Architecture("whisper", "WhisperConfig", "WhisperEncoder", _embed_speech, "d_model", "encoder."),
    }

    def __init__(self, reader: Reader, architecture: str, config: dict[str, Any]) -> None:
        super().__init__(reader, architecture, config)
        if getattr(self.config, "add_adapter", False):
            self.width = int(self.config.output_hidden_size)

    def pieces(self, x: Ragged) -> Tensor:
        """A vector for each window: (P, width).

        Full windows are computed in batches of `WINDOWS_IN_BATCH`, and an incomplete batch is padded: in one shape, the
        bits of a vector do not depend on its neighbours. Sounds that end inside a window of samples vary in length:
        each is computed alone, so that it needs no mask. The copies that pad a batch of `embed` are skipped.
        """
        if not len(x.rows):
            return x.values.new_zeros(0, self.width)
        parts = [part[part.isfinite()] if part.ndim == 1 else part for part in x.values]
        sources, distinct = [], list[int]()  # for each part, the number of the equal part that is computed
        for number, part in enumerate(parts):
            if not number or not torch.equal(part, parts[number - 1]):
                distinct.append(number)
            sources.append(distinct[-1])
        full = [number for number in distinct if parts[number].shape == x.values.shape[1:]]
        batches = [full[start : start + WINDOWS_IN_BATCH] for start in range(0, len(full), WINDOWS_IN_BATCH)]
        batches += [[number] for number in sorted({*distinct} - {*full})]
        vectors: dict[int, Tensor] = {}
        for batch in batches:
            # Training does not need equal bits, so its batches are not padded.
            padding = WINDOWS_IN_BATCH - len(batch) if batch[0] in full and not torch.is_grad_enabled() else 0
            windows = torch.stack([parts[number] for number in batch + batch[-1:] * padding])
            vectors.update(zip(batch, self.architecture.embed(self.network, windows), strict=False))
        return torch.stack([vectors[number] for number in sources])

    def embed_arrays(self, values: Tensor) -> Tensor:
        """Windows (P, ...) of one length -> (P, width)."""
        return self.architecture.embed(self.network, values)


def make_audio_reader(folder: ModelFolder, settings: dict[str, Any]) -> PretrainedAudio:
    """The audio reader of a model, with the settings of its feature extractor.

    Args:
        folder: of the model.
        settings: of the network.

    Raises:
        UsageError: the folder has no settings of a feature extractor.
    """
    if (folder.path / "preprocessor_config.json").is_file():
        extractor = folder.read_json("preprocessor_config.json")
    else:  # processors of transformers 5 write a single file
        fix = "save its feature extractor: AutoFeatureExtractor.from_pretrained(NAME).save_pretrained(FOLDER)"
        extractor = folder.read_json("processor_config.json", fix).get("feature_extractor") or {}
    reader_class = READERS[folder.model_type]
    complete = reader_class(extractor).settings
    if reader_class is not Wav2Vec2Features:
        return reader_class(complete)
    min_samples = 1
    for size, stride in zip(reversed(settings["conv_kernel"]), reversed(settings["conv_stride"]), strict=True):
        min_samples = (min_samples - 1) * stride + size
    return Wav2Vec2Features(complete, min_samples=min_samples)


def _convert(folder: ModelFolder) -> Space:
    """A space with the column `audio`."""
    settings = PretrainedAudioEncoder.architectures[folder.model_type].complete_settings(folder.config)
    encoder = PretrainedAudioEncoder(make_audio_reader(folder, settings), folder.model_type, settings)
    space = Space(encoder.width, {"audio": encoder})
    space.build()
    encoder.load_weights(folder.weights)
    return space


OTHER_MODULES = ("clap", "pe_audio", "pe_audio_video", "embedding_gemma2")  # which also read texts
CONVERTERS = {name: _convert for name in READERS if name not in OTHER_MODULES}
