"""Which column takes what another library passes on."""

import numpy as np
import pytest

from jointembed import MLP, BagOfWords, ConvNet, EmbeddingBag, Image, LogMel, Numbers, Space
from jointembed.adapters.modalities import find_columns
from jointembed.errors import UsageError
from jointembed.readers import FileReader


def space(**encoders):
    return Space(4, encoders)


def test_each_modality_has_the_only_column_that_reads_it():
    title, size = EmbeddingBag(BagOfWords()), MLP(Numbers())
    model = space(song=ConvNet(LogMel()), cover=ConvNet(Image([8, 8])), title=title, size=size)
    assert find_columns(model) == {"audio": "song", "image": "cover", "text": "title"}


def test_of_several_columns_the_namesake_is_taken_or_a_choice_is_needed():
    texts = {"title": EmbeddingBag(BagOfWords()), "text": EmbeddingBag(BagOfWords())}
    assert find_columns(space(**texts)) == {"text": "text"}
    assert find_columns(space(**texts), {"text": "title"}) == {"text": "title"}
    with pytest.raises(UsageError, match="several columns read it: title, lyrics"):
        find_columns(space(title=texts["title"], lyrics=texts["text"]))


def test_unknown_modalities_and_columns_are_refused():
    model = space(title=EmbeddingBag(BagOfWords()))
    with pytest.raises(UsageError, match="did you mean text"):
        find_columns(model, {"texts": "title"})
    with pytest.raises(UsageError, match="did you mean title"):
        find_columns(model, {"text": "titel"})


class Scan(FileReader):
    """A reader of files of another kind."""

    shape = (4,)

    def preprocess(self, cell):
        return np.zeros(4, np.float32)


def test_files_that_are_neither_images_nor_sounds_have_no_modality():
    assert find_columns(space(scan=MLP(Scan()), title=EmbeddingBag(BagOfWords()))) == {"text": "title"}
