"""A trained model as a step of a scikit-learn pipeline."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from jointembed import BagOfWords, Embedder, EmbeddingBag, Space
from jointembed.errors import UsageError

TEXTS = ["slow sad strings", "fast wild fiddle", "sad slow piano", "wild fast drums"] * 10
KINDS = ["waltz", "reel", "waltz", "reel"] * 10


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    space = Space(8, {"words": EmbeddingBag(BagOfWords())})
    space.reader("words").fit(TEXTS)
    space.build()
    space.save(tmp_path / "words.ckpt")
    return tmp_path / "words.ckpt"


def test_embedder_works_in_a_pipeline(model):
    pipeline = make_pipeline(Embedder(model, "words"), LogisticRegression())
    assert cross_val_score(pipeline, TEXTS, KINDS, cv=4).mean() == 1.0
    vectors = Embedder(model, "words").fit_transform(TEXTS[:3])
    assert (vectors == Space.load(model).embed("words", TEXTS[:3])).all()
    assert Embedder(model, "words").get_feature_names_out()[-1] == "words7"


def test_embedder_is_cloned_and_pickled_without_its_model(model):
    fitted = Embedder(model, "words").fit(TEXTS)
    assert clone(fitted).get_params() == {"model": model, "column": "words", "trust": ()}
    packed = pickle.dumps(fitted)
    assert len(packed) < 2000
    assert (pickle.loads(packed).transform(TEXTS[:2]) == fitted.transform(np.array(TEXTS[:2]))).all()


def test_missing_column_or_model_is_reported_by_fit(model, tmp_path):
    with pytest.raises(UsageError, match="did you mean words"):
        Embedder(model, "word").fit(TEXTS)
    with pytest.raises(UsageError, match="does not exist"):
        Embedder(tmp_path / "none.ckpt", "words").fit(TEXTS)
