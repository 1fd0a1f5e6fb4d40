"""The columns of a .csv file keep what is written in them: only what is certainly a number becomes one."""

import datetime
import itertools

import lightning
import numpy as np
import pytest

from jointembed import Category, EmbeddingBag, JointEmbedding, Match, Numbers, TableData
from jointembed.data.rows import Rows
from jointembed.data.trained import open_as_trained
from jointembed.errors import UsageError

# Lightning asks torch in a way that torch is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")

GUESSES = {
    "zeros": (["000", "351"], ["000", "351"]),
    "barcode": (["0012345678905", "4006381333931"], ["0012345678905", "4006381333931"]),
    "long number": (["98765432109876543210", "1"], ["98765432109876543210", "1"]),
    "time": (["04:17", "12:00"], ["04:17", "12:00"]),
    "date": (["2020-02-29", "2021-01-01"], ["2020-02-29", "2021-01-01"]),
    "date and time": (["2020-02-29 10:00", ""], ["2020-02-29 10:00", None]),
    "signed": (["+49301234", "5"], ["+49301234", "5"]),
    "code": (["12E5", "13"], ["12E5", "13"]),
    "country": (["NA", "DE"], ["NA", "DE"]),
    "no country but one": (["NA", "NA"], ["NA", "NA"]),
    "mixed": (["1", "two"], ["1", "two"]),
    "integers": (["1", "-20", ""], [1, -20, None]),
    "spaced": ([" 1", "2 "], [1, 2]),
    "integers with NA": (["1990", "NA", "N/A"], [1990, None, None]),
    "numbers": (["1.50", ".5", "-2", "1e-05", "1E+16", "3."], [1.5, 0.5, -2.0, 1e-05, 1e16, 3.0]),
    "numbers with null": (["0.25", "null", "-"], [0.25, None, None]),
    "infinite": (["1.5", "inf", "-Infinity"], [1.5, float("inf"), float("-inf")]),
    "booleans": (["true", "FALSE", "NA"], [True, False, None]),
    "words of truth": (["true", "maybe"], ["true", "maybe"]),
    "empty": (["", ""], [None, None]),
}


def open_csv(folder, columns, **settings):
    lines = [",".join(cells) for cells in itertools.zip_longest(*columns.values(), fillvalue="")]
    (folder / "rows.csv").write_text("\n".join([",".join(columns), *lines]) + "\n")
    return Rows.open(folder, **settings)


def test_types_are_guessed_with_care(tmp_path):
    rows = open_csv(tmp_path, {name: cells for name, (cells, _) in GUESSES.items()})
    for name, (cells, expected) in GUESSES.items():
        got = rows.cells(name)[: len(cells)]
        assert got == expected and list(map(type, got)) == list(map(type, expected)), name


def test_nan_among_numbers_is_counted_as_before(tmp_path):
    rows = open_csv(tmp_path, {"x": ["1.5", "nan", "NA", "NaN"], "name": ["nan", "nan", "", "nan"]})
    numbers, absent = rows.numbers("x")
    assert np.isnan(numbers).tolist() == [False, True, True, True] and absent.tolist() == [False, False, True, False]
    assert rows.cells("name") == ["nan", "nan", None, "nan"]


def test_numbers_with_na_are_read_as_numbers(tmp_path):
    rows = open_csv(tmp_path, {"year": ["1990", "NA", "2010"]})
    reader = Numbers()
    reader.fit(rows.cells("year"))
    assert reader.mean == [2000.0] and rows.has_numbers("year")


def test_types_can_be_given_and_are_those_of_the_index_too(tmp_path):
    columns = {"id": ["a", "b", "c"], "code": ["7", "8", "7"], "year": ["007", "NA", "1990"], "flag": ["true"] * 3}
    open_csv(tmp_path, columns)
    types = {"code": "text", "year": "integer", "flag": "text"}
    data = TableData(str(tmp_path), batch_size=4, types=types)
    assert data.open().cells("code") == ["7", "8", "7"] and data.open().cells("flag") == ["true"] * 3
    assert data.open().cells("year") == [7, None, 1990]
    assert Rows.open(tmp_path).cells("code") == [7, 8, 7], "another conversion of the same file"
    model = JointEmbedding(2, dict.fromkeys(["code", "flag"], EmbeddingBag(Category())), [Match("code", "flag")])
    settings = {"logger": False, "enable_progress_bar": False, "default_root_dir": tmp_path / "run"}
    lightning.Trainer(max_epochs=1, accelerator="cpu", enable_model_summary=False, **settings).fit(model, data)
    checkpoint = next((tmp_path / "run").rglob("*.ckpt"))
    assert open_as_trained(tmp_path, checkpoint).cells("code") == ["7", "8", "7"]


@pytest.mark.parametrize(
    ("types", "words"),
    [
        ({"year": "integer"}, ["rows.csv, row 2", "year: '04:17' is not of type integer", "the type text"]),
        ({"year": "txt"}, ["data.types.year", "did you mean text"]),
        ({"yeer": "text"}, ["data.types.yeer", "did you mean year"]),
    ],
)
def test_types_that_do_not_fit_are_refused(types, words, tmp_path):
    open_csv(tmp_path, {"id": ["a", "b"], "year": ["1990", "04:17"]})
    with pytest.raises(UsageError) as error:
        TableData(str(tmp_path), types=types).open()
    assert all(word in str(error.value) for word in words), error.value


def test_types_of_a_table_in_memory_are_its_own():
    with pytest.raises(UsageError, match="not a .csv file"):
        TableData([{"id": "a", "day": datetime.date(2020, 2, 29)}], types={"day": "text"}).open()
