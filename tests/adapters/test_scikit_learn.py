"""A trained model as a step of a scikit-learn pipeline."""

import copy
import pickle

import numpy as np
import pandas
import pyarrow
import pytest
import scipy.sparse
import torch
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from jointembed import (
    MLP,
    BagOfWords,
    Category,
    ConvNet,
    Embedder,
    EmbeddingBag,
    JointEmbedding,
    LogMel,
    Match,
    Numbers,
    PretrainedClassifier,
    Space,
    audio,
)
from jointembed.errors import UnsafeError, UsageError

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


class OwnObjective(Match):
    """An objective of a package that a user trusts in training."""


def test_objectives_of_other_packages_are_not_imported_for_vectors(tmp_path):
    encoders = {"words": EmbeddingBag(BagOfWords()), "kind": EmbeddingBag(Category())}
    trained = JointEmbedding(8, encoders, [OwnObjective("words", "kind")])
    trained.space.reader("words").fit(TEXTS)
    trained.space.reader("kind").fit(KINDS)
    trained.build()
    trained.save(tmp_path / "own.ckpt")
    assert Embedder(tmp_path / "own.ckpt", "words").transform(TEXTS[:2]).shape == (2, 8)
    with pytest.raises(UnsafeError):
        PretrainedClassifier(tmp_path / "own.ckpt", "words", "kind").fit(TEXTS)


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
    (scipy.sparse.eye(3), "got a sparse matrix"),
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


# -- the checks of scikit-learn ----------------------------------------------------------------------------------------


def with_array_tags(tags):
    """Rows of numbers are cells of the model that is checked here, so that all checks can be run."""
    tags.input_tags.two_d_array, tags.input_tags.one_d_array = True, False
    tags.input_tags.string = tags.input_tags.categorical = False
    return tags


class EmbedderOfArrays(Embedder):
    def __sklearn_tags__(self):
        return with_array_tags(super().__sklearn_tags__())


class ClassifierOfArrays(PretrainedClassifier):
    def __sklearn_tags__(self):
        return with_array_tags(super().__sklearn_tags__())


SPARSE_CHECKS = ["check_estimator_sparse_array", "check_estimator_sparse_matrix", "check_estimator_sparse_tag"]
SPARSE = "it is refused by a UsageError, which is one line, and not by a ValueError"
LABELS = "the labels are those of the trained model, as text, and not those of the check"
EXPECTED = {
    EmbedderOfArrays: dict.fromkeys(SPARSE_CHECKS, SPARSE),
    ClassifierOfArrays: {
        **dict.fromkeys(SPARSE_CHECKS, SPARSE),
        **dict.fromkeys(
            [
                "check_classifier_data_not_an_array",
                "check_classifiers_classes",
                "check_classifiers_one_label",
                "check_classifiers_train",
                "check_estimators_pickle",
                "check_fit_idempotent",
                "check_fit_score_takes_y",
                "check_methods_sample_order_invariance",
                "check_methods_subset_invariance",
                "check_pipeline_consistency",
            ],
            LABELS,
        ),
    },
}


def make_labeller(loss="softmax", candidates="all", head=None):
    """A model of sounds in memory and their kinds; it takes any array of numbers as a sound."""
    torch.manual_seed(0)
    encoders = {"sound": ConvNet(LogMel(8000, seconds=0.05, n_mels=8), channels=[8], width=8)}
    if head is None:
        encoders["kind"] = EmbeddingBag(Category())
    match = Match("sound", "kind", candidates, loss, head=head)
    model = JointEmbedding(8, encoders, [match])
    for reader in [match.own["kind"]] if head else [model.space.reader("kind")]:
        reader.fit(["reel", "waltz", "polka", "reel"])
    model.build()
    return model.eval()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "columns"), [
    (EmbedderOfArrays, ["sound"]), (ClassifierOfArrays, ["sound", "kind"]),
    (Embedder, ["sound"]), (PretrainedClassifier, ["sound", "kind"]),
])  # fmt: skip
def test_checks_of_scikit_learn_pass(estimator, columns, tmp_path):
    make_labeller().save(tmp_path / "model.ckpt")
    expected = EXPECTED.get(estimator, {})
    results = check_estimator(
        estimator(tmp_path / "model.ckpt", *columns), on_fail=None, on_skip=None, expected_failed_checks=expected
    )
    assert not [result["check_name"] for result in results if result["status"] == "failed"]
    failing = {result["check_name"] for result in results if result["status"] == "xfail"}
    assert failing == set(expected), "what does not fail any more needs no reason"


# -- probabilities of labels -------------------------------------------------------------------------------------------

SOUNDS = [np.random.default_rng(number).normal(0, 0.1, 900).astype(np.float32) for number in range(5)]


@pytest.mark.parametrize("settings", [
    {}, {"candidates": "batch"}, {"candidates": 2}, {"head": [4]}, {"loss": "sigmoid"},
])  # fmt: skip
def test_probabilities_rank_as_the_model_does(settings, tmp_path):
    model = make_labeller(**settings)
    model.save(tmp_path / "model.ckpt")
    classifier = PretrainedClassifier(tmp_path / "model.ckpt", "sound", "kind").fit(SOUNDS)
    assert list(classifier.classes_) == ["polka", "reel", "waltz"]
    probabilities = classifier.predict_proba(SOUNDS)
    assert probabilities.shape == (5, 3) and ((probabilities > 0) & (probabilities < 1)).all()
    if settings.get("loss") != "sigmoid":
        assert np.allclose(probabilities.sum(1), 1)
    predicted = classifier.predict(SOUNDS)
    if "head" in settings:
        assert (predicted == model.predict("sound", SOUNDS, "kind")).all()
    else:
        scores = model.space.embed("sound", SOUNDS) @ model.space.embed("kind", list(classifier.classes_)).T
        assert (scores.argsort(1) == probabilities.argsort(1)).all()
        assert (predicted == classifier.classes_[scores.argmax(1)]).all()
    assert classifier.score(SOUNDS, predicted) == 1


def test_sounds_within_a_table_are_read(tmp_path):
    model = make_labeller()
    model.save(tmp_path / "model.ckpt")
    content = audio.to_wav({"array": SOUNDS[0], "sampling_rate": 8000})
    table = pandas.DataFrame({"sound": [{"bytes": content, "path": "a.wav"}] * 2})
    expected = model.space.embed("sound", [SOUNDS[0]] * 2)
    assert (Embedder(tmp_path / "model.ckpt", "sound").transform(table) == expected).all()
    probabilities = PretrainedClassifier(tmp_path / "model.ckpt", "sound", "kind").predict_proba(table)
    assert probabilities.shape == (2, 3)


def test_probabilities_have_the_trained_temperature():
    model = make_labeller()
    sharp, flat = (model.predict_proba("sound", SOUNDS, "kind", temperature) for temperature in (0.1, 10.0))
    assert sharp.max(1).mean() > model.predict_proba("sound", SOUNDS, "kind").max(1).mean() > flat.max(1).mean()
    scores = (
        torch.from_numpy(model.space.embed("sound", SOUNDS))
        @ torch.from_numpy(model.space.embed("kind", model.label_names("sound", "kind"))).T
    )
    expected = (scores / 0.07).softmax(1).numpy()
    assert np.allclose(model.predict_proba("sound", SOUNDS, "kind"), expected, atol=1e-5)


def test_what_has_no_labels_is_one_line(model, tmp_path):
    with pytest.raises(UsageError, match="kind: no objective matches it with words"):
        PretrainedClassifier(model, "words", "kind").fit(TEXTS)
    make_labeller().save(tmp_path / "model.ckpt")
    with pytest.raises(UsageError, match="did you mean kind?"):
        PretrainedClassifier(tmp_path / "model.ckpt", "sound", "kinds").fit(SOUNDS)
    captions = JointEmbedding(
        8, {"words": EmbeddingBag(BagOfWords()), "size": MLP(Numbers())}, [Match("words", "size")]
    )
    captions.space.reader("words").fit(TEXTS)
    captions.build()
    with pytest.raises(UsageError, match="size: the objective gives no probabilities"):
        captions.predict_proba("words", TEXTS, "size")
