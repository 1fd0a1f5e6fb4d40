"""Converts the published musicnn into a space of songs and tags, without TensorFlow."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch

from ...encoders import EmbeddingBag, Encoder
from ...errors import DamagedError, MismatchError
from ...readers import Category
from ...space.space import Space
from .encoder import WIDTH, MusicnnEncoder, make_reader
from .network import FEATURES, PENULTIMATE, tag_layer
from .tensor_bundle import read_tensors
from .words import TagMixtureEncoder, read_names

FOLDER = "musicnn/MSD_musicnn/"  # in the wheel: the network trained on the Million Song Dataset
GET_AGAIN = "get the wheel of musicnn 0.1.0 again"

# In the order of the network's outputs.
TAGS = [
    "rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s", "alternative rock", "jazz",
    "beautiful", "metal", "chillout", "male vocalists", "classic rock", "soul", "indie rock", "mellow", "electronica",
    "80s", "folk", "90s", "chill", "instrumental", "punk", "oldies", "blues", "hard rock", "ambient", "acoustic",
    "experimental", "female vocalist", "guitar", "hip-hop", "70s", "party", "country", "easy listening", "sexy",
    "catchy", "funk", "electro", "heavy metal", "progressive rock", "60s", "rnb", "indie pop", "sad", "house", "happy",
]  # fmt: skip


def convert(wheel: Path, text: Encoder | None = None) -> Space:
    """The space of musicnn: columns `audio` and `tag`, whose cosine ranks as the network's own logits do, and `text`.

    Args:
        wheel: the package musicnn 0.1.0 as it is distributed, whose weights are read.
        text: an encoder of texts with its weights, by which words mean tags; without it the space has no texts.

    Raises:
        DamagedError: it is not a package, or its weights are damaged.
        MismatchError: it is another version.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            index, data = (archive.read(FOLDER + name) for name in (".index", ".data-00000-of-00001"))
    except (zipfile.BadZipFile, OSError, KeyError) as error:
        raise DamagedError(wheel, f"it is not the wheel of musicnn ({error})", GET_AGAIN) from error
    tensors = read_tensors(str(wheel), index, data)
    audio, tag = MusicnnEncoder(make_reader(), TAGS), EmbeddingBag(Category())
    tag.reader.restore({"ids": TAGS, "counts": [0] * len(TAGS)})
    encoders: dict[str, Encoder] = {"audio": audio, "tag": tag}
    if text is not None:
        weights_of_text = text.state_dict()
        encoders["text"] = words = TagMixtureEncoder(text, read_names(TAGS))
    space = Space(WIDTH, encoders)
    space.description = "musicnn (Pons and Serra 2019), trained on the Million Song Dataset"
    space.build()
    try:
        audio.network.load_tensors(tensors)
        weights, biases = tag_layer(tensors)
    except (KeyError, ValueError) as error:
        raise MismatchError(wheel, f"its weights are those of another network ({error})", GET_AGAIN) from error
    points = np.zeros((len(TAGS) + 1, WIDTH), np.float32)  # the last is that of unknown tags
    points[:-1, :PENULTIMATE], points[:-1, FEATURES] = weights, biases
    squares = (points**2).sum(1)
    points[:-1, -1] = np.sqrt(squares.max() - squares[:-1])  # so that the cosine ranks the tags of a song, too
    audio.tag_weights.copy_(torch.from_numpy(weights))
    audio.tag_biases.copy_(torch.from_numpy(biases))
    with torch.no_grad():
        tag.table.weight.copy_(torch.from_numpy(points))
    space.eval()
    if text is not None:
        text.load_state_dict(weights_of_text)
        words.fit_names(torch.from_numpy(points[:-1]))
    return space
