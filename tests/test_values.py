import datetime
import math
import time

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jointembed.errors import UsageError
from jointembed.values import explode, key, keys, missing

SAME = [
    (3, 3.0),
    (3, np.int8(3)),
    (3, np.float32(3)),
    (True, np.bool_(True)),
    (0.1, np.float64(0.1)),
    (0.0, -0.0),
    (math.nan, np.float32("nan")),
    ("jazz", np.str_("jazz")),
    (["jazz"], "jazz"),
    ([["jazz"]], "jazz"),
    ([7], 7),
    (np.array([7]), 7),
    (np.array(7.0), 7),
    ([1, 2, 3], np.array([1, 2, 3], np.uint8)),
    ([1, 2, 3], (1.0, 2.0, 3.0)),
    (np.array([[0, 1], [1, 0]], bool), np.array([[0, 1], [1, 0]], np.float32)),
    (np.array([0.0, 1.0]), np.array([-0.0, 1.0])),
    (np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3))),
    (np.array(["a", "b"]), ["a", "b"]),
    (np.array(["a", "b"], object), ("a", "b")),
    ({"a": 1, "b": [2, 3]}, {"b": np.array([2, 3]), "a": 1.0}),
    (2**70, float(2**70)),
]
DIFFERENT = [
    (3, "3"),
    (None, "None"),
    (None, ""),
    ("a", b"a"),
    ("jazz", "Jazz"),
    (["a", "b"], ["b", "a"]),
    (["a", "b"], ["a", "b", "b"]),
    (["ab", "c"], ["a", "bc"]),
    ([1, 2], ["1", "2"]),
    (np.arange(6).reshape(2, 3), np.arange(6).reshape(3, 2)),
    (np.arange(6), np.arange(6).reshape(2, 3)),
    (np.array([2**60, 1]), np.array([2**60 + 1, 1])),
    (2**60, 2**60 + 1),
    ({"a": 1}, {"a": 2}),
    ({"a": 1}, {"b": 1}),
    ({"a": 1}, ["a", 1]),
    (datetime.date(2024, 1, 2), datetime.date(2024, 1, 3)),
    (math.inf, -math.inf),
    ("caf\udce9", "caf\udce8"),
]


@pytest.mark.parametrize("a, b", SAME)
def test_equal_cells_have_equal_keys(a, b):
    assert key(a) == key(b)


@pytest.mark.parametrize("a, b", DIFFERENT)
def test_different_cells_have_different_keys(a, b):
    assert key(a) != key(b)


def test_keys_never_change():
    # They are stored in caches, so another Python, NumPy or machine must find the same.
    assert key("waltz") == 1583106231362541463
    assert key(np.arange(3)) == key([0, 1, 2]) == 6461658989557452434


CELLS = st.none() | st.integers() | st.floats() | st.text()


@given(st.recursive(CELLS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_cells_have_64_bit_keys(cell):
    assert -(2**63) <= key(cell) < 2**63
    assert key(cell) == key(cell)


def test_cells_of_unknown_types_are_refused():
    with pytest.raises(UsageError, match="object: cells of this type cannot be compared"):
        key(object())


@pytest.mark.parametrize(
    "cell",
    [None, "", [], (), b"", math.nan, np.float32("nan"), np.zeros(0), [None], ["", None], pandas.NA, pandas.NaT]
    + [np.array([math.nan] * 2), np.array([None, ""], object), [[], [None]]],
)
def test_missing_cells(cell):
    assert missing(cell)
    assert explode(cell) == []


@pytest.mark.parametrize(
    "cell", [0, False, "a", [0], {}, {"a": None}, np.zeros(1), np.zeros((2, 2)), ["", "a"], np.array([math.nan, 0])]
)
def test_present_cells(cell):
    assert not missing(cell)


def test_explode_returns_the_elements():
    array = np.zeros(3)
    assert explode("ab") == ["ab"]
    assert explode(["a", None, "b", ""]) == ["a", "b"]
    assert explode(np.array(["a", "b"], object)) == ["a", "b"]
    assert explode([0, 1, 0.5]) == [[0, 1, 0.5]] and explode([0, None]) == [[0, None]]
    assert explode(array)[0] is array
    assert len(explode([array, array])) == 2
    assert explode({"a": [1]}) == [{"a": [1]}]
    assert explode([{"a": 1}, {"a": 2}]) == [{"a": 1}, {"a": 2}]


@pytest.mark.slow
def test_arrays_are_hashed_without_python_loops():
    cells = np.random.default_rng(0).integers(0, 256, (2_000, 784), np.uint8)
    began = time.process_time()
    keys = {key(cell) for cell in cells}
    assert len(keys) == len(cells)
    assert time.process_time() - began < 0.4  # 70,000 of them take a second or so


def test_keys_of_many_cells_are_those_of_each():
    cells = ["a", "", "ä", "\ud800", 3, -(2**70), True, 3.0, 0.1, None, [1, 2], np.int64(3), np.str_("a"), {"a": 1}]
    assert keys(cells).tolist() == [key(cell) for cell in cells]
    assert keys([]).tolist() == [] and keys(["a"]).dtype == np.int64
