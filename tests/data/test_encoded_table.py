"""Columns of Arrow tables are encoded by their distinct elements: the same bits as cell by cell, and kept on disk."""

import datetime
import json
import os
import pickle

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from jointembed import BagOfWords, Category, Numbers, PiecewiseLinear, Quantiles, Subwords
from jointembed.data.encoded_table import EncodedTable, fit_elements, fit_matrix
from jointembed.data.join import reader_cells
from jointembed.data.rows import Rows
from jointembed.errors import UsageError

NAN = float("nan")
WORDS = ["a slow waltz", None, "", "Ärger", "a slow waltz", "fast, fast", "ÄRGER", "\N{GRINNING FACE}", "null"]
LISTS = [["a", "b"], None, [], [""], [None], ["b"], ["a", "b"], ["b", "a"], ["", "c"], ["c"], ["a"] * 5]
NUMBERS = [[1, 2], None, [], [2], [1, 2], [2, 1], [2**60 + 1, 2**60], [2**60, 2**60], [0, -5, 7], [3]]
FLOATS = [[1.0, 2.5], None, [], [NAN], [NAN, 1.0], [-0.0, 3.0], [0.0, 3.0], [3.0], [1e300, 7.0], [None, 2.0]]
COLUMNS = {
    "text": pa.array(WORDS),
    "large text": pa.array(WORDS, pa.large_string()),
    "dictionary": pa.array(WORDS).dictionary_encode(),
    "integers": pa.array([3, None, 0, -7, 3, 2**60]),
    "unsigned": pa.array([3, None, 0, 2**64 - 1], pa.uint64()),
    "bytes": pa.array([3, None, -1], pa.int8()),
    "floats": pa.array([3.0, None, NAN, -0.0, 0.0, 0.1, 1e300, float("inf")]),
    "short floats": pa.array([3.0, None, NAN, 0.1], pa.float32()),
    "truths": pa.array([True, None, False, True]),
    "dates": pa.array([datetime.date(2020, 2, 29), None, datetime.date(1, 1, 1)]),
    "lists of text": pa.array([cell for cell in LISTS if cell is None or None not in cell or len(cell) == 1]),
    "lists of dictionary": pa.array([["a", "b"], ["a"], None], pa.list_(pa.dictionary(pa.int32(), pa.string()))),
    "lists of integers": pa.array(NUMBERS),
    "lists of floats": pa.array(FLOATS),
    "lists of missing integers": pa.array([[1, None, 3], [None], [0]]),
    "large lists": pa.array(NUMBERS, pa.large_list(pa.int64())),
    "fixed lists": pa.array([[1, 2], None, [2, 1], [0, 0]], pa.list_(pa.uint8(), 2)),
    "short lists": pa.array(FLOATS, pa.list_(pa.float32())),
}
TEXTS = ["text", "large text", "dictionary", "lists of text", "lists of dictionary", "lists of missing text"]
TEXT_COLUMNS = {**COLUMNS, "lists of missing text": pa.array(LISTS + [["a", None, "b"]])}


def open_column(cells, folder, name="x"):
    parquet.write_table(pa.table({name: cells}), folder / "rows.parquet", row_group_size=4)
    return Rows.open(folder)


def assert_equal(got, expected):
    for part in ("values", "rows", "row_keys", "offsets", "weights", "piece_keys"):
        a, b = getattr(got, part), getattr(expected, part)
        assert (a is None) == (b is None), part
        assert a is None or (a.dtype == b.dtype and torch.equal(a, b)), (part, a, b)


def encode_both(rows, make_reader, folder, weights=None):
    """A column by its distinct elements and cell by cell, and the readers of both."""
    cells = rows.cells("x")
    weights = np.ones(len(rows), np.int64) if weights is None else weights
    table, reader, slow = EncodedTable(rows, folder), make_reader(), make_reader()
    assert table.supports("x", reader)
    fit_elements(reader, [(table, "x", weights)])
    slow.fit([cell for cell, weight in zip(cells, weights.tolist(), strict=True) for _ in range(weight)])
    return table.encode("x", reader), slow.encode(cells), reader, slow


@pytest.mark.parametrize("name", [name for name in COLUMNS if name != "dates"])
def test_ids_by_their_distinct_elements_have_the_same_bits_as_cell_by_cell(name, tmp_path):
    rows = open_column(COLUMNS[name], tmp_path)
    x, expected, reader, slow = encode_both(rows, Category, tmp_path)
    assert reader.state() == slow.state()
    everything = torch.arange(len(rows))
    assert_equal(x[everything], expected)
    for index in (everything.flip(0), everything[1::2], everything[[0, 0, len(rows) - 1]], everything[:0]):
        assert_equal(x[index], expected[index])


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("make_reader", [BagOfWords, lambda: BagOfWords(2, 5, [2, 3]), lambda: Subwords(300, 3)])
def test_texts_by_their_distinct_elements_have_the_same_bits_as_cell_by_cell(name, make_reader, tmp_path):
    rows = open_column(TEXT_COLUMNS[name], tmp_path)
    x, expected, reader, slow = encode_both(rows, make_reader, tmp_path)
    assert reader.state() == slow.state()
    assert_equal(x[torch.arange(len(rows))], expected)


def test_only_training_rows_are_fitted_each_as_often_as_it_occurs(tmp_path):
    rows = open_column(COLUMNS["lists of text"], tmp_path)
    weights = np.array([0, 1, 2, 0, 0, 3, 0, 1, 0, 1, 0])
    x, expected, reader, slow = encode_both(rows, lambda: Category(min_count=2), tmp_path, weights)
    assert reader.state() == slow.state() == {"ids": ["b"], "counts": [4]}
    assert_equal(x[torch.arange(len(rows))], expected)


@pytest.mark.parametrize("name", COLUMNS)
def test_keys_by_their_distinct_elements_are_those_of_the_cells(name, tmp_path):
    rows = open_column(COLUMNS[name], tmp_path)
    x = EncodedTable(rows, tmp_path).keys("x")[torch.arange(len(rows))]
    assert x.row_keys.tolist() == Category().keys(rows.cells("x")).tolist() and not len(x.rows)


@pytest.mark.parametrize(
    ("cells", "reader"),
    [
        (pa.array([[["a"]], None]), Category()),
        (pa.array([{"a": 1}, None]), Category()),
        (pa.array([b"a", None]), Category()),
        (pa.array([[True, False], None]), Category()),
        (pa.array([None, None]), Category()),
        (pa.array([[1, 2], [3]]), BagOfWords()),
    ],
)
def test_columns_of_other_types_are_read_cell_by_cell(cells, reader, tmp_path):
    assert not EncodedTable(open_column(cells, tmp_path), tmp_path).supports("x", reader)


def test_cells_that_a_reader_refuses_are_refused(tmp_path):
    table = EncodedTable(open_column(pa.array([3, 4]), tmp_path), tmp_path)
    for _ in range(2):
        with pytest.raises(UsageError, match="must be text"):
            fit_elements(BagOfWords(), [(table, "x", np.ones(2, np.int64))])


class Reversed(Category):
    def fit(self, cells):
        super().fit(cells)
        self.restore({"ids": self._ids[::-1], "counts": self.counts[::-1]})


class Halves(BagOfWords):
    def elements(self, cell):
        return cell.split(";")


class Long(Subwords):
    def encode(self, cells, rng=None, preprocess=None):
        return super().encode([cell and cell * 2 for cell in cells], rng, preprocess)


class Upper(Category):
    def token_ids(self, element):
        return (self._number.get(element.upper(), self.size),)


class Louder(BagOfWords):
    def token_ids(self, element):
        return super().token_ids(element + "!")


def test_readers_that_change_how_cells_are_read_are_read_cell_by_cell(tmp_path):
    table = EncodedTable(open_column(pa.array(["a", "b"]), tmp_path), tmp_path)
    assert not any(table.supports("x", reader) for reader in (Reversed(), Halves(), Long(), Upper()))
    assert table.supports("x", Louder()) and table.supports("x", Category())


def inodes(folder):
    """The arrays in a folder, by the numbers of their files, which change when they are written again."""
    return {path: path.stat().st_ino for path in folder.rglob("*") if path.is_file()}


def test_second_start_computes_nothing_until_the_table_or_the_reader_changes(tmp_path):
    folder = tmp_path / ".jointembed"
    first = encode_both(open_column(COLUMNS["text"], tmp_path), Category, folder)
    arrays = inodes(folder / "columns")
    again = encode_both(Rows.open(tmp_path), Category, folder)
    assert again[2].state() == first[2].state() and inodes(folder / "columns") == arrays
    assert_equal(again[0][torch.arange(9)], first[1])
    assert encode_both(Rows.open(tmp_path), lambda: Category(2), folder)[2].vocabulary() == ["a slow waltz"]
    assert inodes(folder / "columns").items() > arrays.items()
    x, expected, *_ = encode_both(open_column(pa.array([*WORDS[:-1], "other"]), tmp_path), Category, folder)
    assert_equal(x[torch.arange(9)], expected)
    assert not inodes(folder / "columns").keys() & arrays.keys(), "those of the earlier content are removed"


def test_change_of_equal_size_and_time_is_noticed(tmp_path):
    encode_both(open_column(pa.array(["ab", "cd"]), tmp_path), Category, tmp_path)
    path = tmp_path / "rows.parquet"
    before = path.stat()
    open_column(pa.array(["ab", "ce"]), tmp_path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size and path.stat().st_mtime_ns == before.st_mtime_ns
    assert encode_both(Rows.open(tmp_path), Category, tmp_path)[2].vocabulary() == ["ab", "ce"]


def test_damaged_arrays_are_made_again(tmp_path):
    rows = open_column(COLUMNS["lists of text"], tmp_path)
    _, expected, *_ = encode_both(rows, Category, tmp_path)
    files = [path for path in (tmp_path / "columns").rglob("*") if path.is_file() and path.stat().st_size]
    assert {"codes", "starts", "row_keys", "values", "state", "manifest.json"} <= {path.name for path in files}
    for path in files:
        content = path.read_bytes()
        for damaged in (content[:-1] + bytes([content[-1] ^ 1]), content[:-1], None):
            path.unlink()
            if damaged is not None:
                path.write_bytes(damaged)
            x, *_ = encode_both(Rows.open(tmp_path), Category, tmp_path)
            assert_equal(x[torch.arange(len(rows))], expected)
            assert path.read_bytes() == content


def test_another_process_maps_the_same_files(tmp_path):
    x, expected, *_ = encode_both(open_column(COLUMNS["lists of text"], tmp_path), Category, tmp_path)
    content = pickle.dumps(x)
    assert len(content) < 3000
    assert_equal(pickle.loads(content)[torch.arange(len(expected))], expected)


def test_tables_in_memory_leave_no_files(tmp_path):
    table = EncodedTable(Rows.open(pa.table({"x": WORDS})), tmp_path)
    reader = Category()
    fit_elements(reader, [(table, "x", np.ones(9, np.int64))])
    expected = reader.encode(WORDS)
    assert_equal(table.encode("x", reader)[torch.arange(9)], expected)
    folder = table.store.folder
    assert folder.exists() and not folder.is_relative_to(tmp_path) and not list(tmp_path.iterdir())
    del table
    assert not folder.exists()


def test_rows_of_json_keep_their_cells(tmp_path):
    cells = {
        "text": ["a", None, "", "\ud800", "é"],
        "integers": [1, None, 3, 2**53 + 1, -1],
        "big": [1, 2**70, None, 3, 4],
        "floats": [1.5, None, NAN, 1e300, -0.0],
        "mixed": [1, 1.5, None, "a", True],
        "truths": [True, False, None, True, True],
        "lists": [["a"], [], None, [None, ""], ["b", "c"]],
        "numbers": [[1, 2], [], None, [3], [4, 5, 6]],
        "missing numbers": [[1, None], [], None, [3], [4, 5, 6]],
        "mixed numbers": [[1, 2.5], [], None, [3], [4, 5, 6]],
        "nested": [[[1], []], {"a": [1]}, None, [], [["x"]]],
        "empty": [None, None, None, None, None],
        "empty lists": [[], None, [], [], []],
        "late": [None, None, None, None, {"x": 1}],
    }
    lines = [{name: column[row] for name, column in cells.items() if row != 1 or name != "text"} for row in range(5)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    for _ in range(2):
        rows = Rows.open(tmp_path)
        assert rows.columns == list(cells)
        for name, column in cells.items():
            assert repr(rows.cells(name)) == repr(column), name


@pytest.mark.parametrize("name", COLUMNS)
def test_cells_of_some_rows_are_those_of_all(name, tmp_path):
    rows = open_column(COLUMNS[name], tmp_path)
    numbers = np.array([2, 0, 2, 1, len(rows) - 1])
    assert repr(rows.cells_at("x", numbers)) == repr([rows.cells("x")[number] for number in numbers])


@pytest.mark.parametrize("name", ["text", "integers", "floats", "lists of text"])
def test_labels_and_splits_are_those_of_the_cells(name, tmp_path):
    column = COLUMNS[name]
    table = pa.table({"id": [f"row {row}" for row in range(len(column))], "x": column})
    parquet.write_table(table, tmp_path / "rows.parquet", row_group_size=2)
    rows, plain = Rows.open(tmp_path), Rows.open(table.to_pylist())
    names, numbers = rows.labels("x")
    assert [names[number] for number in numbers] == [str(cell) for cell in plain.cells("x")] and names == sorted(names)
    assert rows.with_split("x").cells("split") == plain.with_split("x").cells("split")
    assert rows.with_split("x").labels("split")[0] == sorted(set(plain.with_split("x").cells("split")))


HUGE_FLOATS = pa.array([3.0, None, NAN, -0.0, 0.0, 0.1, 1e300, float("inf"), 7.0, 8.0, 7.0])
ROWS_OF_NUMBERS = {
    "x": HUGE_FLOATS,
    "integers": pa.array([3, None, 0, -7, 3, 2**60, None, 1, 2, 3, 3]),
    "shorts": pa.array([0.1, None, NAN, 7, 8, 9, 10, None, 0.5, -1, 0.1], pa.float32()),
    "truths": pa.array([True, None, None, False] + [True] * 7),
    "lone": pa.array([None] * 10 + [3.0]),
}
MATRIX_READERS = [Numbers, PiecewiseLinear, lambda columns=None: Quantiles(columns, 3)]


@pytest.mark.parametrize("make_reader", MATRIX_READERS)
@pytest.mark.parametrize(
    "columns", [["x"], ["integers"], ["shorts"], ["truths"], ["lone"], None, list(ROWS_OF_NUMBERS)]
)
def test_numbers_by_a_matrix_have_the_same_bits_as_cell_by_cell(make_reader, columns, tmp_path):
    parquet.write_table(pa.table(ROWS_OF_NUMBERS), tmp_path / "rows.parquet", row_group_size=4)
    rows, table = Rows.open(tmp_path), None
    own = columns is not None and len(columns) == 1
    names = columns or ["shorts", "x"]
    reader, slow = (make_reader() if own else make_reader(names) for _ in range(2))
    table = EncodedTable(rows, tmp_path)
    assert table.supports(names[0], reader)
    train = np.array([10, 2, 3, 3, 0, 5, 1, 6, 8, 11])
    fit_matrix(reader, [(table, names[0], train)])
    cells = reader_cells(rows, names[0], slow)
    slow.fit([cells[row] for row in train if row < 11])
    assert repr(reader.state()) == repr(slow.state())
    x, everything = table.encode(names[0], reader), torch.arange(12)
    assert_equal(x[everything], slow.encode([*cells, None]))
    assert_equal(x[everything.flip(0)], slow.encode([*cells, None])[everything.flip(0)])
    assert_equal(pickle.loads(pickle.dumps(x))[everything], x[everything])


@pytest.mark.parametrize("cells", [pa.array(["3", "4"]), pa.array([[1.0], [2.0]]), pa.array([{"a": 1}, None])])
def test_numbers_of_other_types_are_read_cell_by_cell(cells, tmp_path):
    assert not EncodedTable(open_column(cells, tmp_path), tmp_path).supports("x", Numbers())
