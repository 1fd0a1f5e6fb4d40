"""Converts a Hugging Face model into a model of jointembed, without training and without running any code of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import MismatchError, UsageError, UserError
from ...readers import Reader
from ...space.space import Space
from . import audio, clap, clip, embedding_gemma2, pe_audio, static_embedding, text, vision
from .folder import FETCH_AGAIN, ModelFolder

# By the model type in config.json: from a folder to a space with its weights. A family of models is one module.
CONVERTERS: dict[str, Callable[[ModelFolder], Space]] = {
    **clap.CONVERTERS,
    **audio.CONVERTERS,
    **pe_audio.CONVERTERS,
    **embedding_gemma2.CONVERTERS,
    **clip.CONVERTERS,
    **vision.CONVERTERS,
    **text.CONVERTERS,
    **static_embedding.CONVERTERS,
}


def convert_model(path: Path, name: str) -> Space:
    """The space of a model in a folder, with the vectors of the model.

    Args:
        path: a folder that `save_pretrained` wrote: config.json, model.safetensors and, for what the model reads,
            preprocessor_config.json and tokenizer.json; of sentence-transformers also modules.json.
        name: the name of the model in the description of the space.

    Raises:
        UsageError: a file is missing, or the type of the model is not supported.
        UnsafeError: the weights are pickled, or the settings name code.
        DamagedError: a file cannot be parsed.
        MismatchError: the files do not match each other.
    """
    folder = ModelFolder(path)
    if folder.model_type not in CONVERTERS:
        wrong = f"the model type {folder.model_type!r} is not supported"
        raise UsageError(path, wrong, "adopt a model of one of these types: " + ", ".join(CONVERTERS))
    with _silence_transformers(), _report_mismatch(path):
        space = CONVERTERS[folder.model_type](folder).eval()
        space.description = "; ".join(filter(None, [f"adopted from {name} ({folder.architecture})", space.description]))
        for column in space.columns:  # so that a mismatch is reported here and not by the first search
            space.embed(column, [_example_cell(space.reader(column))])
    return space


def _example_cell(reader: Reader) -> Any:
    """A word, a second of silence, or a black image."""
    if reader.reads_text:
        return "a word"
    if reader.sample_rate:
        return {"array": np.zeros(16000, np.float32), "sampling_rate": 16000}
    return np.zeros((8, 8, 3), np.uint8)


@contextlib.contextmanager
def _report_mismatch(path: Path) -> Iterator[None]:
    """Turn the exceptions of transformers into errors of one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = [*str(error).strip().splitlines(), type(error).__name__][0]
        raise MismatchError(path, f"its files do not match each other ({reason[:200]})", FETCH_AGAIN) from error


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
