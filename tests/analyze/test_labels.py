"""Labels of items, and what their neighbors predict for them."""

import numpy as np
import pytest

from jointembed.analyze.labels import knn_labels, label_columns
from jointembed.index.index import Index
from jointembed.index.selection import iter_rows, select


@pytest.fixture
def digits(tmp_path):
    """Handwritten digits of scikit-learn as an index."""
    from sklearn.datasets import load_digits

    data = load_digits()
    vectors = data.images[:200].reshape(200, -1).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = [
        {"id": f"d{at}", "digit": digit, "ink": float(vectors[at].mean()), "fold": f"f{at % 3}"}
        for at, digit in enumerate(data.target[:200].tolist())
    ]
    with Index.create(tmp_path / "digits.index", 64, "cosine") as index:
        index.add(rows, vectors, "bitmap")
        yield index


def test_label_columns_repeat_their_values(digits):
    assert label_columns(digits, select(digits).rows) == ["digit", "fold"]


def test_knn_labels_are_the_majority_of_five_neighbors_and_the_nearest_decides_ties(digits):
    ids, vectors = digits.vectors()
    rows, labels = list(iter_rows(digits, ids)), knn_labels(digits, ids, ["digit", "fold"])
    scores = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    np.fill_diagonal(scores, -np.inf)
    for at, order in enumerate(np.argsort(-scores, axis=1, kind="stable")[:, :5]):
        for column in labels:
            voters = [rows[neighbor][column] for neighbor in order]
            most = max(map(voters.count, voters))
            winner = next(label for label in voters if voters.count(label) == most)
            assert labels[column][at] == str(winner)
