"""A model of Hugging Face -> a space, with no training: no code of its is run, what decides a vector is kept."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ...errors import DamagedError, MismatchError, UnsafeError, UsageError, UserError
from ...space.space import JointEmbedding
from .audio import AstFeatures, ClapFeatures, PretrainedAudio, Wav2Vec2Features, WhisperFeatures
from .encoder import Pretrained, settings
from .tokenizer import PretrainedTokenizer

READERS: dict[str, type[PretrainedAudio]] = {
    "clap": ClapFeatures,
    "audio-spectrogram-transformer": AstFeatures,
    "wav2vec2": Wav2Vec2Features,
    "hubert": Wav2Vec2Features,
    "wavlm": Wav2Vec2Features,
    "whisper": WhisperFeatures,
}
CODE = ("auto_map", "custom_pipelines")  # keys that name code in the model's own folder
AGAIN = "get the model from its maker again"


def adopted(folder: Path, name: str) -> JointEmbedding:
    """The space of a model in a folder: columns `audio` and, for CLAP, `caption`; its own vectors, no projection.

    Args:
        folder: what `save_pretrained` wrote: config.json, preprocessor_config.json, model.safetensors and, for words,
            tokenizer.json.
        name: what the model's note says that it was adopted from.

    Raises:
        UsageError: a file is missing, or it is a model of another type.
        UnsafeError: its weights are pickled, or its settings
            name code. Damaged, Mismatch: its files are broken, or do not fit each other.
    """
    config = _json(folder / "config.json", "give a folder that `save_pretrained` wrote")
    _plain(folder / "config.json", config)
    kind = str(config.get("model_type"))
    if kind not in READERS:
        raise UsageError(
            folder, f"models of the type {kind} cannot be adopted", "adopt one of the type " + ", ".join(READERS)
        )
    weights = _weights(folder)
    with _quiet(), _fitting(folder):
        note = f"adopted from {name} ({str((config.get('architectures') or [kind])[0])[:60]})"
        encoders = _encoders(folder, kind, config)
        space = JointEmbedding(encoders["audio"].width, dict(encoders), [], note=note)
        space.configure_model()
        for encoder in encoders.values():
            encoder.adopt(weights)
        # A second of silence and a word: what does not fit is found now, and not by the first search.
        space.eval().embed("audio", [{"array": np.zeros(16000, np.float32), "sampling_rate": 16000}])
        if "caption" in encoders:
            space.embed("caption", ["a word"])
    return space


def _encoders(folder: Path, kind: str, config: dict[str, Any]) -> dict[str, Pretrained]:
    """The encoder of each column."""
    if kind != "clap":
        made = settings(kind, config)
        return {"audio": Pretrained(_ears(folder, kind, made), kind, made)}
    shared = {"projection_dim": config.get("projection_dim", 512)}
    shared["projection_hidden_act"] = config.get("projection_hidden_act", "relu")
    sound, words = ({**(config.get(half) or {}), **shared} for half in ("audio_config", "text_config"))
    made = settings("clap_audio_model", sound)
    said = settings("clap_text_model", words)
    # Like RoBERTa it counts places from the one after the empty sub-word's number.
    reader = PretrainedTokenizer(max_length=said["max_position_embeddings"] - said["pad_token_id"] - 1)
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise UsageError(
            path,
            "there is no such file, so words cannot be read",
            "save the model's fast tokenizer beside it: AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER)",
        )
    try:
        reader.restore({"tokenizer": path.read_text(encoding="utf-8")})
    except Exception as error:  # the tokenizers library raises nothing more special
        raise DamagedError(path, f"it is no tokenizer ({error})", AGAIN) from error
    if reader.size > said["vocab_size"]:
        wrong = f"it knows {reader.size} sub-words, the model {said['vocab_size']}"
        raise MismatchError(path, wrong, AGAIN)
    return {
        "audio": Pretrained(_ears(folder, kind, made), "clap_audio_model", made),
        "caption": Pretrained(reader, "clap_text_model", said),
    }


def _ears(folder: Path, kind: str, made: dict[str, Any]) -> PretrainedAudio:
    """The reader of a model's sounds, by the settings of its feature extractor."""
    path = folder / "preprocessor_config.json"
    if path.is_file():
        given = _json(path, AGAIN)
    else:  # processors of transformers 5 write one file for all that they hold
        given = _json(
            folder / "processor_config.json",
            "save its feature extractor beside it: AutoFeatureExtractor.from_pretrained(NAME).save_pretrained(FOLDER)",
        )
        given = given.get("feature_extractor") or {}
    _plain(path, given)
    full = READERS[kind](given).settings
    if READERS[kind] is not Wav2Vec2Features:
        return READERS[kind](full)
    least = 1
    for size, step in zip(reversed(made["conv_kernel"]), reversed(made["conv_stride"]), strict=True):
        least = (least - 1) * step + size
    return Wav2Vec2Features(full, least=least)


def _weights(folder: Path) -> dict[str, Tensor]:
    """All weights of a folder, from safetensors alone."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    names = ["model.safetensors"]
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted({str(name) for name in _json(index, AGAIN).get("weight_map", {}).values()})
        if any(Path(name).name != name or not name.endswith(".safetensors") for name in names):
            raise UnsafeError(index, "it names files outside of the folder", AGAIN)
    found: dict[str, Tensor] = {}
    for path in (folder / name for name in names):
        if not path.is_file():
            convert = "convert them where you trust them: AutoModel.from_pretrained(NAME).save_pretrained(FOLDER)"
            if any(folder.glob("*.bin")) or any(folder.glob("*.pt*")):
                raise UnsafeError(folder, "its weights are pickled, which may run code, and are not read", convert)
            raise UsageError(path, "there are no such weights; only safetensors are read", convert)
        try:
            found.update(load_file(path))
        except (SafetensorError, OSError, ValueError) as error:
            raise DamagedError(path, f"the weights are damaged ({error})", AGAIN) from error
    return found


def _json(path: Path, fix: str) -> dict[str, Any]:
    if not path.is_file():
        raise UsageError(path, "there is no such file, so this is no whole model", fix)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedError(path, f"it is no JSON ({error})", AGAIN) from error
    if not isinstance(found, dict):
        raise DamagedError(path, "it holds no settings", AGAIN)
    return found


def _plain(path: Path, found: dict[str, Any]) -> None:
    """Refuse settings that name code of their own, at any depth."""
    for key, value in found.items():
        if key in CODE:
            raise UnsafeError(
                path,
                f"it names code of its own ({key}), which is never run",
                "adopt a model whose classes are transformers' own: " + ", ".join(READERS),
            )
        if isinstance(value, dict):
            _plain(path, value)


@contextlib.contextmanager
def _fitting(folder: Path) -> Iterator[None]:
    """Say in one line what transformers finds wrong with settings and files."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = [*str(error).strip().splitlines(), type(error).__name__][0]
        raise MismatchError(folder, f"its files do not fit each other ({reason[:200]})", AGAIN) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from reporting the weights that are left out, such as those of a classifier."""
    import transformers

    logging: Any = transformers.utils.logging
    before = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
