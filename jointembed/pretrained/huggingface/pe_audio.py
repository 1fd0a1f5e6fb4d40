"""The audio and text towers of PE-AV (Vyas et al. 2025): sounds and texts in one space."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...encoders import to_float32
from ...errors import MismatchError, UsageError
from ...ragged import Ragged
from ...readers import Reader, TokenReader
from ...space.space import Space
from .audio import PretrainedAudioEncoder, make_audio_reader
from .encoder import Architecture
from .folder import FETCH_AGAIN, ModelFolder
from .text import PretrainedTextEncoder, embed_steps
from .tokenizer import load_tokenizer

# B windows, P pieces, N samples, W width

AUDIO, TEXT = "pe_audio_encoder", "modernbert"
WITH_VIDEO = "pe_audio_video"
# Of a model with videos: the names of the weights, by those of the model without; shared ones are stored once only.
PARTS = {
    "audio_encoder.": ("audio_video_encoder.embedder.audio_encoder.", "audio_model.audio_encoder."),
    "text_model.": ("text_model.", "audio_model.text_model."),
    "audio_head.": ("audio_model.audio_head.",),
    "text_audio_head.": ("audio_model.text_audio_head.",),
}
CODEC = Architecture("dac", "DacConfig", "DacModel", embed_steps)  # only its settings are used
# What a config.json may leave out: the settings of PE-AV that differ from the defaults of the architecture.
CODEC_DEFAULTS = {"downsampling_ratios": [2, 8, 10, 12], "encoder_hidden_size": 64, "codebook_dim": 128}
TEXT_DEFAULTS = {"hidden_size": 1024, "intermediate_size": 2624, "num_hidden_layers": 22, "num_attention_heads": 16}


def _embed_class_token(network: nn.Module, windows: Tensor) -> Tensor:
    """(B, N) -> (B, W): the class token of the last layer."""
    return to_float32(network(input_values=windows[:, None]).pooler_output)


class PeAudioEncoder(PretrainedAudioEncoder):
    """The audio encoder of PE-AV with its contrastive head.

    Args:
        reader: prepares sounds as in the training of the network.
        config: its settings, as `audio_config` in `config.json`.
        projection_dim: the number of dimensions after the head.
    """

    architectures: ClassVar[dict[str, Architecture]] = {
        AUDIO: Architecture(
            "pe_audio", "PeAudioEncoderConfig", "PeAudioEncoder", _embed_class_token, prefix="audio_encoder."
        )
    }

    def __init__(self, reader: Reader, config: dict[str, Any], projection_dim: int) -> None:
        super().__init__(reader, AUDIO, {**config, "dac_config": _complete_codec(config)})
        self.width = projection_dim

    def build(self, dim: int) -> None:
        """Make the network and the head in float32; their weights are loaded later."""
        super().build(dim)
        self.head = _make_head(int(self.config.hidden_size), self.width)

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """See `PretrainedEncoder.load_weights`."""
        super().load_weights(weights)
        _load_head(self.head, weights, "audio_head.")

    def pieces(self, x: Ragged) -> Tensor:
        """A vector for each window: (P, width)."""
        if not len(x.rows):
            return super().pieces(x)
        # A product with as many rows as there happen to be windows would have other bits than that of one window.
        return torch.cat([to_float32(self.head(row[None])) for row in super().pieces(x)])

    def embed_arrays(self, values: Tensor) -> Tensor:
        """Windows (P, N) of one length -> (P, width)."""
        return to_float32(self.head(super().embed_arrays(values)))


class PeAudioTextEncoder(PretrainedTextEncoder):
    """The text encoder of PE-AV, ModernBERT, with its contrastive head over the class token.

    Args:
        reader: reads texts as in the training of the network.
        config: its settings, as `text_config` in `config.json`.
    """

    architectures: ClassVar[dict[str, Architecture]] = {
        TEXT: Architecture("modernbert", "ModernBertConfig", "ModernBertModel", embed_steps, prefix="text_model.")
    }

    def __init__(self, reader: TokenReader, config: dict[str, Any]) -> None:
        super().__init__(reader, TEXT, config, pooling=("cls",))

    def build(self, dim: int) -> None:
        """Make the network and the head in float32; their weights are loaded later."""
        super().build(dim)
        self.head = _make_head(self.width, self.width)

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """See `PretrainedEncoder.load_weights`."""
        super().load_weights(weights)
        _load_head(self.head, weights, "text_audio_head.")

    def _finish(self, h: Tensor) -> Tensor:
        return torch.cat([to_float32(self.head(row[None])) for row in super()._finish(h)])


def _make_head(in_width: int, out_width: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(in_width, eps=1e-6), nn.Linear(in_width, out_width, bias=False))


def _load_head(head: nn.Sequential, weights: dict[str, Tensor], prefix: str) -> None:
    names = {"0.weight": "layer_norm.weight", "0.bias": "layer_norm.bias", "1.weight": "proj.weight"}
    try:
        head.load_state_dict({own: weights[prefix + name] for own, name in names.items()})
    except (KeyError, RuntimeError) as error:
        wrong = f"they do not match the settings beside them ({prefix}proj, the contrastive head)"
        raise MismatchError("weights", wrong, FETCH_AGAIN) from error


def _complete_codec(config: dict[str, Any]) -> dict[str, Any]:
    """The settings of the codec in those of the audio encoder, as plain data."""
    return CODEC.complete_settings({**CODEC_DEFAULTS, **(config.get("dac_config") or {})})


def _convert(folder: ModelFolder) -> Space:
    """A space with the columns `audio` and `caption`, compared by dot products, as the model was trained."""
    path, config, weights = folder.path / "config.json", folder.config, folder.weights
    if folder.model_type == WITH_VIDEO:
        audio_config = (config.get("audio_video_config") or {}).get("audio_config") or {}
        weights = {
            prefix + name.removeprefix(stored): value
            for prefix, names in PARTS.items()
            for stored in names
            for name, value in weights.items()
            if name.startswith(stored)
        }
    else:
        audio_config = config.get("audio_config") or {}
    if folder.architecture == "PeAudioFrameLevelModel":
        wrong = "it gives a vector for each frame, and not one for a sound"
        raise UsageError(path, wrong, "adopt a model of PE-AV, such as facebook/pe-av-small")
    text_config = config.get("text_config") or {}
    if text_config.get("model_type", TEXT) != TEXT:
        wrong = f"its texts are read by {text_config['model_type']!r}, which is not supported"
        raise UsageError(path, wrong, "adopt a model of PE-AV whose texts are read by ModernBERT")
    text = PeAudioTextEncoder.architectures[TEXT].complete_settings({**TEXT_DEFAULTS, **text_config})
    codec = _complete_codec(audio_config)
    architecture = PeAudioEncoder.architectures[AUDIO]
    audio = {**architecture.complete_settings({**audio_config, "dac_config": codec}), "dac_config": codec}
    tokenizer = load_tokenizer(folder.path, text["max_position_embeddings"], text["vocab_size"])
    encoders = {
        "audio": PeAudioEncoder(make_audio_reader(folder, audio), audio, text["hidden_size"]),
        "caption": PeAudioTextEncoder(tokenizer, text),
    }
    space = Space(text["hidden_size"], dict(encoders), metric="dot")
    space.build()
    for encoder in encoders.values():
        encoder.load_weights(weights)
    if folder.model_type == WITH_VIDEO:
        space.description = "without its encoder of videos"
    return space


CONVERTERS = {"pe_audio": _convert, WITH_VIDEO: _convert}
