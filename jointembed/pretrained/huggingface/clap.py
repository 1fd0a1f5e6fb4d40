"""CLAP (Wu et al. 2023): sounds and texts in one space."""

from __future__ import annotations

from ...space.space import Space
from .audio import PretrainedAudioEncoder, make_audio_reader
from .folder import ModelFolder
from .sentence_transformers import SentenceSettings
from .text import make_text_encoder


def _convert(folder: ModelFolder) -> Space:
    """A space with the columns `audio` and `caption`."""
    config = folder.config
    shared = {
        "projection_dim": config.get("projection_dim", 512),
        "projection_hidden_act": config.get("projection_hidden_act", "relu"),
    }
    settings = PretrainedAudioEncoder.architectures["clap_audio_model"].complete_settings(
        {**(config.get("audio_config") or {}), **shared}
    )
    encoders = {
        "audio": PretrainedAudioEncoder(make_audio_reader(folder, settings), "clap_audio_model", settings),
        "caption": make_text_encoder(
            folder,
            "clap_text_model",
            {**(config.get("text_config") or {}), **shared},
            SentenceSettings(pooling=(), normalize=True),
        ),
    }
    space = Space(shared["projection_dim"], dict(encoders))
    space.build()
    for encoder in encoders.values():
        encoder.load_weights(folder.weights)
    return space


CONVERTERS = {"clap": _convert}
