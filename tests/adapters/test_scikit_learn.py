"""A trained model as a step of a scikit-learn pipeline."""

import copy
import pickle

import numpy as np
import pandas
import pyarrow
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from jointembed import MLP, BagOfWords, Embedder, EmbeddingBag, Numbers, Space
from jointembed.errors import UsageError

TEXTS = ["slow sad strings", "fast wild fiddle", "sad slow piano", "wild fast drums"] * 10
KINDS = ["waltz", "reel", "waltz", "reel"] * 10


def save_model(path, seed):
    torch.manual_seed(seed)
    space = Space(8, {"words": EmbeddingBag(BagOfWords()), "size": MLP(Numbers())}, fusions={"both": ["words", "size"]})
    space.reader("words").fit(TEXTS)
    space.reader("size").fit([1.0, 2.0])
    space.build()
    space.save(path)
    return path


@pytest.fixture
def model(tmp_path):
    return save_model(tmp_path / "words.ckpt", 0)


@pytest.fixture
def vectors(model):
    return Space.load(model).embed("words", TEXTS)


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


def test_embedder_answers_with_the_model_of_its_parameters(model, tmp_path):
    second = save_model(tmp_path / "second.ckpt", 1)
    embedder = Embedder(model, "words").fit(TEXTS)
    copied = copy.deepcopy(embedder)
    first_vectors = embedder.transform(TEXTS[:2])
    embedder.set_params(model=second)
    assert (embedder.transform(TEXTS[:2]) == Space.load(second).embed("words", TEXTS[:2])).all()
    assert (copied.transform(TEXTS[:2]) == first_vectors).all()
    embedder.set_params(column="word")
    with pytest.raises(UsageError, match="did you mean words"):
        embedder.transform(TEXTS[:2])


def test_fit_reads_a_model_that_was_trained_again(model):
    embedder = Embedder(model, "words").fit(TEXTS)
    before = embedder.transform(TEXTS[:1])
    save_model(model, 1)
    assert (embedder.fit(TEXTS).transform(TEXTS[:1]) != before).any()


@pytest.mark.parametrize("cells", [
    pytest.param(TEXTS, id="list"),
    pytest.param(tuple(TEXTS), id="tuple"),
    pytest.param((text for text in TEXTS), id="generator"),
    pytest.param(np.array(TEXTS), id="array"),
    pytest.param(np.array(TEXTS, dtype=object), id="array of objects"),
    pytest.param(np.array(TEXTS, dtype=object)[:, None], id="column of an array"),
    pytest.param(pandas.Series(TEXTS), id="Series"),
    pytest.param(pandas.DataFrame({"text": TEXTS}), id="DataFrame of one column"),
    pytest.param(pandas.DataFrame({"kind": KINDS, "words": TEXTS}), id="DataFrame of several columns"),
    pytest.param(pyarrow.table({"kind": KINDS, "words": TEXTS}), id="Arrow table"),
    pytest.param({"words": TEXTS}, id="dict of columns"),
])  # fmt: skip
def test_cells_in_any_container_have_the_same_vectors(model, vectors, cells):
    assert (Embedder(model, "words").transform(cells) == vectors).all()


def test_a_list_of_one_cell_gives_one_vector(model, vectors):
    assert (Embedder(model, "words").transform(TEXTS[:1]) == vectors[:1]).all()
    assert (Embedder(model, "words").transform(pandas.DataFrame({"words": TEXTS[:1]})) == vectors[:1]).all()


def test_a_column_made_of_several_is_made_of_the_rows_of_a_table(model):
    rows = [{"words": text, "size": float(number)} for number, text in enumerate(TEXTS)]
    expected = Space.load(model).embed("both", rows)
    assert (Embedder(model, "both").transform(pandas.DataFrame(rows)) == expected).all()
    assert (Embedder(model, "both").transform(rows) == expected).all()


def test_column_transformer_passes_columns_on(model, vectors):
    table = pandas.DataFrame({"words": TEXTS, "kind": KINDS})
    for columns in ("words", ["words"]):
        transformer = ColumnTransformer([("text", Embedder(model, "words"), columns)])
        assert (transformer.fit_transform(table) == vectors).all()
    frame = Embedder(model, "words").set_output(transform="pandas").fit_transform(table)
    assert list(frame.columns)[0] == "words0" and (frame.to_numpy() == vectors).all()


@pytest.mark.parametrize(("cells", "words"), [
    ("slow sad strings", "got str.*into a list"),
    (3, "got int"),
    (pandas.DataFrame({"a": TEXTS, "word": TEXTS}), "no such column.*did you mean word?"),
])  # fmt: skip
def test_what_is_no_list_of_cells_is_refused(model, cells, words):
    with pytest.raises(UsageError, match=words):
        Embedder(model, "words").transform(cells)


def test_missing_column_or_model_is_reported_by_fit(model, tmp_path):
    with pytest.raises(UsageError, match="did you mean words"):
        Embedder(model, "word").fit(TEXTS)
    with pytest.raises(UsageError, match="does not exist"):
        Embedder(tmp_path / "none.ckpt", "words").fit(TEXTS)
