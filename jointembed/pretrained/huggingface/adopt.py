"""Converts a Hugging Face model into a model of jointembed, without training and without running any code of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ...errors import DamagedError, MismatchError, UnsafeError, UsageError, UserError
from ...space.space import Space
from .audio import AstFeatures, ClapFeatures, PretrainedAudio, Wav2Vec2Features, WhisperFeatures
from .encoder import PretrainedEncoder, complete_settings
from .tokenizer import PretrainedTokenizer

READERS: dict[str, type[PretrainedAudio]] = {
    "clap": ClapFeatures,
    "audio-spectrogram-transformer": AstFeatures,
    "wav2vec2": Wav2Vec2Features,
    "hubert": Wav2Vec2Features,
    "wavlm": Wav2Vec2Features,
    "whisper": WhisperFeatures,
}
CODE_KEYS = ("auto_map", "custom_pipelines")  # settings that name code in the folder of a model
FETCH_AGAIN = "get the model from its maker again"


def convert_model(folder: Path, name: str) -> Space:
    """The space of a model in a folder, with the vectors of the model: columns `audio` and, for CLAP, `caption`.

    Args:
        folder: a folder that `save_pretrained` wrote: config.json, preprocessor_config.json, model.safetensors and, for
            text, tokenizer.json.
        name: the name of the model in the description of the space.

    Raises:
        UsageError: a file is missing, or the type of the model is not supported.
        UnsafeError: the weights are pickled, or the settings name code.
        DamagedError: a file cannot be parsed.
        MismatchError: the files do not match each other.
    """
    config = _read_json(folder / "config.json", "give a folder that `save_pretrained` wrote")
    _refuse_code(folder / "config.json", config)
    model_type = str(config.get("model_type"))
    if model_type not in READERS:
        wrong = f"models of the type {model_type} are not supported"
        raise UsageError(folder, wrong, "adopt a model of one of the types " + ", ".join(READERS))
    weights = _load_weights(folder)
    with _silence_transformers(), _report_mismatch(folder):
        note = f"adopted from {name} ({str((config.get('architectures') or [model_type])[0])[:60]})"
        encoders = _make_encoders(folder, model_type, config)
        space = Space(encoders["audio"].width, dict(encoders))
        space.description = note
        space.build()
        for encoder in encoders.values():
            encoder.load_weights(weights)
        # Embed a second of silence and a word, so that a mismatch is reported here and not by the first search.
        space.eval().embed("audio", [{"array": np.zeros(16000, np.float32), "sampling_rate": 16000}])
        if "caption" in encoders:
            space.embed("caption", ["a word"])
    return space


def _make_encoders(folder: Path, model_type: str, config: dict[str, Any]) -> dict[str, PretrainedEncoder]:
    """The encoder of each column."""
    if model_type != "clap":
        settings = complete_settings(model_type, config)
        return {"audio": PretrainedEncoder(_make_audio_reader(folder, model_type, settings), model_type, settings)}
    shared = {"projection_dim": config.get("projection_dim", 512)}
    shared["projection_hidden_act"] = config.get("projection_hidden_act", "relu")
    audio = complete_settings("clap_audio_model", {**(config.get("audio_config") or {}), **shared})
    text = complete_settings("clap_text_model", {**(config.get("text_config") or {}), **shared})
    return {
        "audio": PretrainedEncoder(_make_audio_reader(folder, model_type, audio), "clap_audio_model", audio),
        "caption": PretrainedEncoder(_make_text_reader(folder, text), "clap_text_model", text),
    }


def _make_text_reader(folder: Path, settings: dict[str, Any]) -> PretrainedTokenizer:
    # Like RoBERTa, CLAP numbers positions from the one after the id of the padding token.
    reader = PretrainedTokenizer(max_length=settings["max_position_embeddings"] - settings["pad_token_id"] - 1)
    path = folder / "tokenizer.json"
    if not path.is_file():
        fix = "save the model's fast tokenizer beside it: AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER)"
        raise UsageError(path, "the file does not exist, so text cannot be read", fix)
    try:
        reader.restore({"tokenizer": path.read_text(encoding="utf-8")})
    except Exception as error:  # the tokenizers library raises no subclass
        raise DamagedError(path, f"it is not a tokenizer ({error})", FETCH_AGAIN) from error
    if reader.size > settings["vocab_size"]:
        wrong = f"it has {reader.size} subwords, but the model has {settings['vocab_size']}"
        raise MismatchError(path, wrong, FETCH_AGAIN)
    return reader


def _make_audio_reader(folder: Path, model_type: str, settings: dict[str, Any]) -> PretrainedAudio:
    """The audio reader of a model, with the settings of its feature extractor."""
    path = folder / "preprocessor_config.json"
    if path.is_file():
        extractor = _read_json(path, FETCH_AGAIN)
    else:  # processors of transformers 5 write a single file
        path = folder / "processor_config.json"
        fix = "save its feature extractor: AutoFeatureExtractor.from_pretrained(NAME).save_pretrained(FOLDER)"
        extractor = _read_json(path, fix).get("feature_extractor") or {}
    _refuse_code(path, extractor)
    reader_class = READERS[model_type]
    complete = reader_class(extractor).settings
    if reader_class is not Wav2Vec2Features:
        return reader_class(complete)
    min_samples = 1
    for size, stride in zip(reversed(settings["conv_kernel"]), reversed(settings["conv_stride"]), strict=True):
        min_samples = (min_samples - 1) * stride + size
    return Wav2Vec2Features(complete, min_samples=min_samples)


def _load_weights(folder: Path) -> dict[str, Tensor]:
    """All weights of a folder, from safetensors only."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    names = ["model.safetensors"]
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted({str(name) for name in _read_json(index, FETCH_AGAIN).get("weight_map", {}).values()})
        if any(Path(name).name != name or not name.endswith(".safetensors") for name in names):
            raise UnsafeError(index, "it names files outside of the folder", FETCH_AGAIN)
    weights: dict[str, Tensor] = {}
    for path in (folder / name for name in names):
        if not path.is_file():
            convert = "convert them where you trust them: AutoModel.from_pretrained(NAME).save_pretrained(FOLDER)"
            if any(folder.glob("*.bin")) or any(folder.glob("*.pt*")):
                raise UnsafeError(folder, "its weights are pickled, which may run code, and are not read", convert)
            raise UsageError(path, "the file does not exist; weights are read from safetensors only", convert)
        try:
            weights.update(load_file(path))
        except (SafetensorError, OSError, ValueError) as error:
            raise DamagedError(path, f"the weights are damaged ({error})", FETCH_AGAIN) from error
    return weights


def _read_json(path: Path, fix: str) -> dict[str, Any]:
    if not path.is_file():
        raise UsageError(path, "the file does not exist, so the model is incomplete", fix)
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedError(path, f"it is not JSON ({error})", FETCH_AGAIN) from error
    if not isinstance(settings, dict):
        raise DamagedError(path, "it does not contain settings", FETCH_AGAIN)
    return settings


def _refuse_code(path: Path, settings: dict[str, Any]) -> None:
    """Refuse settings that name code of the model, at any depth."""
    for key, value in settings.items():
        if key in CODE_KEYS:
            wrong = f"it names code of its own ({key}), which is never run"
            fix = "adopt a model whose classes are part of transformers: " + ", ".join(READERS)
            raise UnsafeError(path, wrong, fix)
        if isinstance(value, dict):
            _refuse_code(path, value)


@contextlib.contextmanager
def _report_mismatch(folder: Path) -> Iterator[None]:
    """Turn the exceptions of transformers into errors of one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = [*str(error).strip().splitlines(), type(error).__name__][0]
        raise MismatchError(folder, f"its files do not match each other ({reason[:200]})", FETCH_AGAIN) from error


@contextlib.contextmanager
def _silence_transformers() -> Iterator[None]:
    """Keep transformers from reporting unused weights, such as those of a classifier."""
    import transformers

    logging: Any = transformers.utils.logging
    verbosity = logging.get_verbosity()
    progress_bar = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if progress_bar:
            logging.enable_progress_bar()
