"""Numbers as how far they have come through each of their buckets."""

import json
import pickle

import numpy as np
import pytest

from jointembed import MLP, JointEmbedding, Regression, Space
from jointembed.errors import UsageError
from jointembed.readers.piecewise_linear import PiecewiseLinear


def fitted(bins=4):
    reader = PiecewiseLinear(["rooms", "year"], bins)
    reader.fit([{"rooms": number, "year": 1900 + 10 * number} for number in range(9)] + [None])
    return reader


def test_encoding_fills_bins_below_the_number_and_a_share_of_its_own():
    reader = fitted()
    assert reader.size == 10 and reader.shape == (10,)
    assert reader.preprocess({"rooms": 5, "year": 1900}).tolist() == [1, 1, 0.5, 0, 0] + [0] * 5
    assert reader.preprocess({"rooms": 8, "year": "1940"}).tolist() == [1, 1, 1, 1, 0, 1, 1, 0, 0, 0]
    steps = np.stack([reader.preprocess({"rooms": rooms}) for rooms in np.linspace(0, 8, 50)])[:, :4].sum(1)
    assert np.allclose(np.diff(steps), 8 / 49 / 2), "nothing is lost within a bucket"


def test_numbers_are_clipped_and_missing_ones_marked():
    reader = fitted()
    assert np.array_equal(reader.preprocess({"rooms": 99, "year": 1e9}), reader.preprocess({"rooms": 8, "year": 1980}))
    assert np.array_equal(reader.preprocess({"rooms": -9, "year": 0}), reader.preprocess({"rooms": 0, "year": 1900}))
    for missing in ({"year": 1900}, {"rooms": "", "year": 1900}, {"rooms": float("nan"), "year": 1900}):
        assert reader.preprocess(missing).tolist() == [0, 0, 0, 0, 1] + [0] * 5


def test_constant_and_empty_columns_are_encoded():
    reader = PiecewiseLinear(["same", "none", "half"], bins=10)
    reader.fit([{"same": 3, "half": number // 9} for number in range(10)])
    assert len(reader.preprocess({"same": 3, "half": 1})) == reader.size
    assert np.isfinite(reader.preprocess({"same": 4, "none": 1})).all()
    with pytest.raises(UsageError, match="'many' is not a number"):
        reader.preprocess({"same": "many"})


def test_reader_survives_its_state_and_pickling(tmp_path):
    reader = fitted()
    again = PiecewiseLinear(**reader._init_args)
    again.restore(json.loads(json.dumps(reader.state())))
    cell = {"rooms": 2.5, "year": 1955}
    for copy in (again, pickle.loads(pickle.dumps(reader))):
        assert copy.size == reader.size and np.array_equal(copy.preprocess(cell), reader.preprocess(cell))
    model = JointEmbedding(4, {"facts": MLP(PiecewiseLinear(["rooms"], 3), 8)}, [Regression("facts", "price")])
    space = model.space
    rows = [{"rooms": number, "price": float(number)} for number in range(9)]
    for own, columns in model.readers():
        own.fit([row[columns[0]] if not own.columns else row for row in rows])
    model.configure_model()
    before = space.embed("facts", rows)
    model.save(tmp_path / "facts.ckpt")
    assert np.array_equal(Space.load(tmp_path / "facts.ckpt").embed("facts", rows), before)
    assert space.reader("facts").encode([None, None]).values.shape == (0, space.reader("facts").size)
