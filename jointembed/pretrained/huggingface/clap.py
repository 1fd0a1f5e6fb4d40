"""CLAP (Wu et al. 2023): sounds and texts in one space."""

from __future__ import annotations

from ...space.space import Space
from .audio import PretrainedAudioEncoder, make_audio_reader
from .folder import ModelFolder
from .text import PretrainedTextEncoder
from .tokenizer import load_tokenizer


def _convert(folder: ModelFolder) -> Space:
    """A space with the columns `audio` and `caption`."""
    config = folder.config
    shared = {
        "projection_dim": config.get("projection_dim", 512),
        "projection_hidden_act": config.get("projection_hidden_act", "relu"),
    }
    architectures = {**PretrainedAudioEncoder.architectures, **PretrainedTextEncoder.architectures}
    settings = {
        name: architectures[name].complete_settings({**(config.get(part) or {}), **shared})
        for name, part in (("clap_audio_model", "audio_config"), ("clap_text_model", "text_config"))
    }
    audio, text = settings.values()
    # Like RoBERTa, CLAP numbers positions from the one after the id of the padding token.
    max_length = text["max_position_embeddings"] - text["pad_token_id"] - 1
    encoders = {
        "audio": PretrainedAudioEncoder(make_audio_reader(folder, audio), "clap_audio_model", audio),
        "caption": PretrainedTextEncoder(
            load_tokenizer(folder, max_length, text["vocab_size"]), "clap_text_model", text
        ),
    }
    space = Space(shared["projection_dim"], dict(encoders))
    space.build()
    for encoder in encoders.values():
        encoder.load_weights(folder.weights)
    return space


CONVERTERS = {"clap": _convert}
