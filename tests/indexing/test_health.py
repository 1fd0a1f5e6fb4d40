"""The checks of a trained space: a healthy one passes, and each defect of a model or of splits is reported."""

import numpy as np
import pytest
import torch

from jointembed import BagOfWords, Category, EmbeddingBag, Index, Space
from jointembed.data.rows import Rows
from jointembed.errors import MismatchError, UsageError
from jointembed.indexing.health import check_index, check_table, check_vocabularies

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = [f"w{n}" for n in range(40)]


def make_rows(seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(120):
        words = " ".join(rng.choice(WORDS, 6, replace=False))
        split = ["train", "train", "dev", "test"][n % 4]
        rows.append({"id": f"s{n}", "split": split, "words": words, "title": words, "genre": f"g{n % 20}",
                     "artist": f"A{n % 4}-{n % 3}"})  # fmt: skip
    return rows


def make_space(seed=0, metric="cosine"):
    torch.manual_seed(seed)
    encoders = {"words": EmbeddingBag(BagOfWords()), "genre": EmbeddingBag(Category())}
    space = Space(12, encoders, columns={"words": "words", "title": "words"}, metric=metric)
    space.encoder("words").reader.fit([" ".join(WORDS)])
    space.encoder("genre").reader.fit([f"g{n}" for n in range(20)])
    space.build()
    return space.eval()


def verdicts(report, verdict):
    return {(check.subject, check.name) for check in report.checks if check.verdict == verdict}


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("seed", range(3))
def test_a_healthy_space_passes(seed, metric):
    space = make_space(seed, metric)
    report = check_table(Rows.open(make_rows(seed)), space, [("words", "title")], group="artist")
    assert verdicts(report, "fail") == verdicts(report, "warn") == set()
    names = {check.name for check in report.checks}
    expected = {"effective rank", "hubness", "modality gap", "alignment", "cells sharing a vector", "saved and loaded"}
    expected |= {"held-out cells in training", "held-out vectors in training", "alone and in a batch"}
    assert names >= expected | {"mean cosine" if metric == "cosine" else "spread about the mean vector"}
    assert set(report.vectors) == {"words", "title", "genre"}


def change_pieces(space, change):
    encoder = space.encoder("words")
    original = encoder.pieces
    encoder.pieces = lambda x: change(original(x))
    return space


def constant(space):
    with torch.no_grad():
        for parameter in space.encoder("words").parameters():
            parameter[:] = parameter[:1] + 1e-4 * torch.randn_like(parameter)
    return space


MODELS = {
    "random numbers": (lambda z: z + 0.1 * torch.rand_like(z), "same cell twice"),
    "a mean over the batch": (lambda z: z - z.mean(0), "alone and in a batch"),
    "a state that is not saved": (lambda z: z * torch.linspace(1, 2, z.shape[1]), "saved and loaded"),
}


@pytest.mark.parametrize("kind", MODELS)
def test_each_defect_of_a_model_fails_its_check(kind):
    change, name = MODELS[kind]
    report = check_table(Rows.open(make_rows()), change_pieces(make_space(), change), columns=["words"])
    assert ("words", name) in verdicts(report, "fail")
    if kind != "random numbers":
        assert ("words", "same cell twice") not in verdicts(report, "fail")


def test_a_collapsed_model_fails():
    report = check_table(Rows.open(make_rows()), constant(make_space()), columns=["words"])
    assert ("words", "mean cosine") in verdicts(report, "fail")


def copy_words(rows):
    for n in (0, 4, 8):
        rows[n + 3]["words"] = rows[n]["words"]


def shuffle_words(rows):
    for n in range(0, 120, 4):
        rows[n + 3]["words"] = " ".join(reversed(rows[n]["words"].split()))


def share_artists(rows):
    for row in rows:
        row["artist"] = row["artist"][:1]


TABLES = {
    "equal cells": (copy_words, ("words", "held-out cells in training")),
    "equal vectors of different cells": (shuffle_words, ("words", "held-out vectors in training")),
    "artists in several splits": (share_artists, ("artist", "held-out cells in training")),
}


@pytest.mark.parametrize("kind", TABLES)
def test_each_kind_of_leakage_fails_its_check(kind):
    change, expected = TABLES[kind]
    rows = make_rows()
    change(rows)
    report = check_table(Rows.open(rows), make_space(), columns=["words"], group="artist")
    assert verdicts(report, "fail") == {expected}


def test_pairs_that_were_not_brought_together_fail():
    rows = make_rows()
    for row, source in zip(rows, [*rows[7:], *rows[:7]], strict=True):
        row["title"] = source["words"]
    report = check_table(Rows.open(rows), make_space(), [("words", "title")])
    assert verdicts(report, "fail") == {("words, title", "alignment")}


def test_labels_repeat_in_all_splits_without_leaking():
    report = check_table(Rows.open(make_rows()), make_space(), columns=["genre"])
    assert not [check for check in report.checks if "held-out" in check.name]


def test_what_cannot_be_checked_is_noted():
    rows = [{**row, "split": "train", "genre": f"g{n % 5}"} for n, row in enumerate(make_rows())]
    for row in rows:
        del row["title"]
    report = check_table(Rows.open(rows), make_space())
    assert report.notes == [
        "all rows are training rows, so leakage was not checked",
        "genre has 5 different cells, too few to measure",
    ]
    with pytest.raises(UsageError, match="no such column. Fix: did you mean artist"):
        check_table(Rows.open(rows), make_space(), group="artists")
    with pytest.raises(UsageError, match="none of the columns"):
        check_table(Rows.open([{"id": "1", "x": 2}]), make_space())


def test_rows_are_sampled_evenly():
    report = check_table(Rows.open(make_rows()), make_space(), columns=["words"], limit=30)
    assert len(report.vectors["words"]) == 30


def test_vocabularies_are_checked_without_data():
    report = check_vocabularies(make_space())
    assert set(report.vectors) == {"words", "title", "genre"} and not verdicts(report, "fail")
    with pytest.raises(UsageError, match="no such column"):
        check_vocabularies(make_space(), ["wordz"])


def test_an_index_is_checked(tmp_path):
    space, rows = make_space(), make_rows()
    vectors = space.embed("words", [row["words"] for row in rows])
    vectors[3:60:4] = vectors[0:57:4]
    with Index.create(tmp_path / "i.index", space.dim, space.metric, fingerprint=space.fingerprint) as index:
        index.add(rows, vectors, "words")
        report = check_index(index, space, group="artist")
        assert verdicts(report, "fail") == {("words", "held-out vectors in training")}
        assert ("words", "cells sharing a vector") in verdicts(report, "warn")
        assert ("artist", "held-out cells in training") in verdicts(report, "ok")
        with pytest.raises(MismatchError):
            check_index(index, make_space(1))
        with pytest.raises(UsageError, match="no such field"):
            check_index(index, space, ["words2"])
