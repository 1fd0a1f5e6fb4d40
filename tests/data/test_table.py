"""A table is the same whatever holds it; its readers learn from the training rows alone; sounds are decoded once."""

import errno
import json
import os
import sys
import unicodedata
from types import SimpleNamespace

import numpy as np
import pandas
import PIL.Image
import pyarrow as pa
import pytest
import soundfile
import torch
from lightning.pytorch.trainer.states import TrainerFn
from pyarrow import parquet

from jointembed import (
    BagOfWords,
    Category,
    ConvNet,
    EmbeddingBag,
    JointEmbedding,
    LogMel,
    Match,
    Numbers,
    PianoRoll,
    Regression,
    SparseImage,
    TableData,
)
from jointembed import values as table_cells
from jointembed.audio import decoding
from jointembed.data.feature_cache import FeatureCache
from jointembed.data.rows import Rows
from jointembed.errors import DamagedError, UsageError

ROWS = [
    {
        "id": "001",
        "split": "train",
        "words": "a slow waltz",
        "country": "NA",
        "year": 1990,
        "tempo": 90.5,
        "bitmap": [0, 255, 0, 51],
    },
    {"id": "002", "split": "train", "words": "null", "country": "nan", "year": 2001, "tempo": 120.0, "bitmap": None},
    {
        "id": "0x3",
        "split": "dev",
        "words": None,
        "country": "None",
        "year": None,
        "tempo": None,
        "bitmap": [9, 0, 0, 0],
    },
    {
        "id": "1e4",
        "split": "test",
        "words": 'Ärger, "quoted"\nline',
        "country": None,
        "year": 7,
        "tempo": 60.0,
        "bitmap": None,
    },
]
FLAT = [name for name in ROWS[0] if name != "bitmap"]


def write_table(kind, rows, folder):
    """The rows in a table of some kind."""
    path = folder / f"rows.{kind.partition(' ')[0]}"
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name) for row in rows] for name in names}
    if kind == "list":
        return rows
    if kind == "DataFrame":
        return pandas.DataFrame(rows)
    if kind == "DataFrame of nullable types":
        return pandas.DataFrame(rows).convert_dtypes()
    if kind == "jsonl":
        path.write_text("\n".join(json.dumps({k: v for k, v in row.items() if v is not None}) for row in rows) + "\n\n")
    elif kind == "csv":
        pandas.DataFrame({name: columns[name] for name in FLAT}).convert_dtypes().to_csv(path, index=False)
    elif "fixed" in kind:
        make_data = pa.table({**columns, "bitmap": pa.array(columns["bitmap"], pa.list_(pa.uint8(), 4))})
        parquet.write_table(make_data, path, row_group_size=3)
    else:
        parquet.write_table(pa.table(columns), path)
    return path


KINDS = ["list", "DataFrame", "DataFrame of nullable types", "jsonl", "csv", "parquet", "parquet of fixed lists"]


@pytest.mark.parametrize("kind", KINDS)
def test_tables_of_all_formats_have_equal_cells(kind, tmp_path):
    rows = Rows.open(write_table(kind, ROWS, tmp_path))
    names = FLAT if kind == "csv" else list(ROWS[0])
    assert len(rows) == 4 and rows.columns == names
    for name in names:
        for got, expected in zip(rows.cells(name), [row[name] for row in ROWS], strict=True):
            assert table_cells.missing(got) == table_cells.missing(expected), (name, got)
            if expected is not None:
                assert table_cells.key(got) == table_cells.key(expected), (name, got)
    assert [row["id"] for row in rows.dicts()] == ["001", "002", "0x3", "1e4"]
    assert "words" not in rows.dicts()[2] and rows.dicts()[0]["country"] == "NA"
    assert rows.cells("year")[0] == 1990 and Category.name(rows.cells("year")[3]) == "7"


@pytest.mark.parametrize("kind", KINDS)
def test_tables_of_all_formats_give_equal_batches(kind, tmp_path):
    rows = Rows.open(write_table(kind, ROWS, tmp_path))
    for name, reader in {
        "year": Category(),
        "words": BagOfWords(),
        "tempo": Numbers(),
        "bitmap": SparseImage([2, 2]),
    }.items():
        if name not in rows.columns:
            continue
        batches = []
        for cells in (rows.cells(name), [row[name] for row in ROWS]):
            reader.fit(cells)
            batches.append(reader.encode(cells))
        for part in ("values", "rows", "row_keys", "offsets", "weights"):
            got, expected = (getattr(batch, part) for batch in batches)
            assert (got is None) == (expected is None) and (got is None or torch.equal(got, expected)), (name, part)


HOLES = {
    "ids": [[5, None, 9], None, [5, 9], [None], [9]],
    "big": [[2**60 + 1, None], None, [2**60 + 1], [None], [9]],
    "tags": [["a", None, "b"], None, ["a", "b"], [None, ""], ["", "b"]],
    "roll": [[[60, None], [], [64]], None, [[60], [], [64]], [[None]], [[64]]],
    "tempo": [[None, 90.5], None, [90.5], [None], [120.0]],
}


@pytest.mark.parametrize("kind", ["list", "jsonl", "parquet", "Arrow", "DataFrame", "arrays"])
def test_missing_element_of_a_list_is_no_element(kind, tmp_path):
    names = [name for name in HOLES if kind != "arrays" or name not in ("roll", "big")]
    rows = [{name: HOLES[name][row] for name in names} for row in range(5)]
    if kind == "Arrow":
        table = pa.Table.from_pylist(rows)
    elif kind == "arrays":  # in which pandas writes a missing number as NaN
        table = pandas.DataFrame(
            {
                name: [cell and np.array(cell, object if name == "tags" else float) for cell in HOLES[name]]
                for name in names
            }
        )
    else:
        table = write_table(kind, rows, tmp_path)
    table = Rows.open(table)
    readers = {"ids": Category(), "big": Category(), "tags": Category(), "roll": PianoRoll(), "tempo": Numbers()}
    for name, reader in readers.items():
        if name not in names:
            continue
        cells = table.cells(name)
        reader.fit(cells)
        x = reader.encode(cells)
        assert x.present.tolist() == [True, False, True, False, True], (name, cells)
        first, same = x[torch.tensor([0])], x[torch.tensor([2])]
        assert first.row_keys == same.row_keys and torch.equal(first.values, same.values), name
        assert len(set(x.row_keys.tolist())) == 4, name
        if name in ("ids", "tags"):
            assert reader.vocabulary() == (["5", "9"] if name == "ids" else ["a", "b"])
    texts = BagOfWords()
    texts.fit(table.cells("tags"))
    assert texts.encode(table.cells("tags")).counts.tolist() == [2, 0, 2, 0, 1]


def test_missing_grey_level_is_refused_and_not_black(tmp_path):
    parquet.write_table(pa.table({"bitmap": pa.array([[9, None, 0, 7]])}), tmp_path / "rows.parquet")
    with pytest.raises(UsageError, match="grey levels must be numbers"):
        SparseImage([2, 2]).encode(Rows.open(tmp_path).cells("bitmap"))


def test_paths_in_composed_characters_lead_to_the_files_that_are_stored(tmp_path):
    names = [unicodedata.normalize(form, f"é{number}.png") for number, form in enumerate(["NFD", "NFC"])]
    for name in names:
        PIL.Image.new("L", (2, 2), 255).save(tmp_path / name)
    rows = [{"bitmap": unicodedata.normalize("NFC", name)} for name in names]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    paths = Rows.open(tmp_path).cells("bitmap", True)
    assert SparseImage([2, 2]).encode(paths).counts.tolist() == [1, 1]
    assert sys.platform == "darwin" or paths == [str(tmp_path / name) for name in names]


def test_missing_paths_of_a_list_are_left_out(tmp_path):
    PIL.Image.new("L", (2, 2), 255).save(tmp_path / "a.png")
    parquet.write_table(pa.table({"bitmap": [[None, "a.png", ""], [None]]}), tmp_path / "rows.parquet")
    assert SparseImage([2, 2]).encode(Rows.open(tmp_path).cells("bitmap", True)).counts.tolist() == [1, 0]


@pytest.mark.parametrize("kind", [pa.list_(pa.uint8(), 4), pa.list_(pa.int64()), pa.large_list(pa.float32())])
def test_lists_of_numbers_become_typed_arrays(kind, tmp_path):
    parquet.write_table(pa.table({"x": pa.array([row["bitmap"] for row in ROWS], kind)}), tmp_path / "rows.parquet")
    cells = Rows.open(tmp_path).cells("x")
    assert [cell is None for cell in cells] == [False, True, False, True]
    assert (
        cells[0].dtype == kind.value_type.to_pandas_dtype()
        and cells[0].tolist() == [0, 255, 0, 51]
        and cells[2].tolist() == [9, 0, 0, 0]
    )


def test_cells_may_be_arrays():
    image = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for table in ([{"x": image}, {"x": None}], pandas.DataFrame({"x": [image, None]})):
        rows = Rows.open(table)
        assert rows.cells("x")[0] is image and table_cells.missing(rows.cells("x")[1])


def test_changed_file_is_converted_again_and_its_old_copy_removed(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("id,word\n1,one\n")
    assert Rows.open(path).cells("word") == ["one"] == Rows.open(path).cells("word")
    path.write_text("id,word\n1,other\n")
    os.utime(path, ns=(1, 1))
    assert Rows.open(path).cells("word") == ["other"]
    assert len(list((tmp_path / ".jointembed").glob("*.parquet"))) == 1


def test_table_in_a_read_only_folder_is_read(tmp_path, monkeypatch):
    (tmp_path / "rows.csv").write_text("id,word\n007,one\n")

    def fail(descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    assert Rows.open(tmp_path).cells("id") == ["007"]


def broken(folder):
    """Tables that cannot be used: a name -> (table, failure, words)."""
    files = {
        "twice.csv": "id,word,id\n1,a,2\n", "ragged.csv": "id,word\n1,a\n2,b,c\n", "headed.csv": "id,word\n",
        "bad.jsonl": '{"id": "1"}\n\n{"id": \n',
        "half.jsonl": '{"id": "1", "word\\ud83d": "a"}\n',
        "list.jsonl": '{"id": "1"}\n[1, 2]\n', "none.jsonl": "", "rows.txt": "x", "cut.parquet": "PAR1abc",
    }  # fmt: skip
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / "latin.jsonl").write_bytes('{"id": "é"}\n'.encode("latin-1"))
    (folder / "latin.csv").write_bytes("id,word\n1,подмосковные\n".encode("cp1251"))
    (folder / "bare").mkdir()
    return {
        "twice": (folder / "twice.csv", UsageError, "two columns have the same name"),
        "ragged": (folder / "ragged.csv", DamagedError, "ragged.csv"),
        "headed": (folder / "headed.csv", UsageError, "no rows"),
        "json": (folder / "bad.jsonl", DamagedError, "line 3"),
        "half a character": (folder / "half.jsonl", UsageError, r"half.jsonl, column 'word.ud83d'"),
        "list": (folder / "list.jsonl", DamagedError, "line 2"),
        "empty": (folder / "none.jsonl", UsageError, "no rows"),
        "empty list": ([], UsageError, "no rows"),
        "empty DataFrame": (pandas.DataFrame({"id": []}), UsageError, "no rows"),
        "ending": (folder / "rows.txt", UsageError, "got .txt"),
        "parquet": (folder / "cut.parquet", DamagedError, "cannot be read"),
        "latin": (folder / "latin.jsonl", DamagedError, "its text is not UTF-8"),
        "latin csv": (folder / "latin.csv", DamagedError, "latin.csv"),
        "folder": (folder / "bare", UsageError, "rows.jsonl"),
        "gone": (folder / "gone.csv", UsageError, "the table does not exist"),
        "other": (3, UsageError, "got int"),
    }


@pytest.mark.parametrize(
    "name",
    [
        "twice",
        "ragged",
        "headed",
        "json",
        "half a character",
        "list",
        "empty",
        "empty list",
        "empty DataFrame",
        "ending",
        "parquet",
        "latin",
        "latin csv",
        "folder",
        "gone",
        "other",
    ],
)
def test_invalid_tables_are_refused(name, tmp_path):
    table, kind, words = broken(tmp_path)[name]
    with pytest.raises(kind, match=words) as failure:
        Rows.open(table)
    assert "\n" not in str(failure.value) and "Fix: " in str(failure.value)


# -- the data module ---------------------------------------------------------------------------------------------------


def make_data(table, model, ckpt_path=None, stage="fit", **settings):
    """A data module that has been set up for a model, without a trainer's run."""
    data = TableData(table, **settings)
    fn = TrainerFn.FITTING if stage == "fit" else TrainerFn.TESTING
    data.trainer = SimpleNamespace(lightning_module=model, ckpt_path=ckpt_path, state=SimpleNamespace(fn=fn))
    data.setup(stage)
    return data


def worded(**settings):
    return JointEmbedding(
        4,
        {"words": EmbeddingBag(BagOfWords()), "genre": EmbeddingBag(Category())},
        [Match("words", "genre")],
        **settings,
    )


def test_readers_are_fitted_on_training_rows_only():
    rows = [
        {"split": "train", "words": "slow waltz", "genre": "waltz"},
        {"split": "train", "words": "fast", "genre": "reel"},
        {"split": "dev", "words": "slow surprise", "genre": "polka"},
        {"split": "test", "words": "waltz", "genre": "reel"},
        {"split": "held", "words": "other", "genre": "jig"},
    ]  # fmt: skip
    model = worded()
    data = make_data(rows, model, batch_size=2)
    assert model.space.reader("words").vocabulary() == ["fast", "slow", "waltz"] and model.space.reader(
        "genre"
    ).vocabulary() == [
        "reel",
        "waltz",
    ]
    assert model.space.reader("genre").counts == [1, 1]
    [batch] = list(data.val_dataloader())
    assert batch["words"].values.tolist() == [1, 3] and batch["genre"].values.tolist() == [2]
    assert [
        len(list(loader)) for loader in (data.train_dataloader(), data.test_dataloader(), data.predict_dataloader())
    ] == [1, 1, 3]


def test_table_without_split_is_all_training_rows():
    rows = [{"words": "a", "genre": "b"}] * 4
    data = make_data(rows, worded(), batch_size=2)
    assert len(list(data.train_dataloader())) == 2 and list(data.val_dataloader()) == []
    with pytest.raises(UsageError, match="no row has `test`"):
        data.test_dataloader()


@pytest.mark.parametrize(
    ("rows", "settings", "words"),
    [
        ([{"word": "a", "genre": "b"}], {}, "did you mean word"),
        ([{"words": "a"}], {}, "no such column .it has words"),
        ([{"words": "a", "genre": "b", "split": "dev"}], {}, "no row has `train`"),
        ([{"words": "a", "genre": "b"}], {"balance": ["genr"]}, "did you mean genre"),
        ([{"words": 3, "genre": "b"}], {}, "must be text, got int"),
        ([{"words": "a", "genre": {"b": 1}}], {}, "an id must be text or a number, got dict"),
        ([{"words": "a", "genre": "b"}], {"batch_size": 0}, "at least 1, got 0"),
    ],
)
def test_tables_that_do_not_fit_the_model_are_refused(rows, settings, words):
    with pytest.raises(UsageError, match=words) as failure:
        make_data(rows, worded(), **settings)
    assert "\n" not in str(failure.value) and "Fix: " in str(failure.value)


def test_column_of_positives_by_needs_no_encoder():
    rows = [
        {"words": "a", "genre": "b", "artist": "x"},
        {"words": "c", "genre": "d"},
        {"words": "e", "genre": "f", "artist": "x"},
    ]
    model = JointEmbedding(
        4,
        {"words": EmbeddingBag(BagOfWords()), "genre": EmbeddingBag(Category())},
        [Match("words", "genre", positives_by="artist")],
    )
    [batch] = list(make_data(rows, model, batch_size=4).predict_dataloader())
    keys = batch["artist"].row_keys.tolist()
    assert keys[0] == keys[2] != keys[1]


def test_resume_restores_the_vocabulary_from_the_checkpoint(tmp_path):
    old = worded()
    make_data([{"words": "slow waltz", "genre": "waltz"}, {"words": "fast", "genre": "reel"}], old)
    old.configure_model()
    old.save(tmp_path / "last.ckpt")
    model = worded()
    data = make_data([{"words": "quite other waltz", "genre": "waltz"}], model, ckpt_path=str(tmp_path / "last.ckpt"))
    assert model.space.reader("words").vocabulary() == ["fast", "slow", "waltz"]
    [batch] = list(data.predict_dataloader())
    assert batch["words"].values.tolist() == [3, 3, 2] and batch["genre"].values.tolist() == [1]


@pytest.fixture
def songs(tmp_path):
    """A folder with a table of 12 sounds of several lengths."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(12):
        soundfile.write(tmp_path / f"{number}.wav", rng.normal(0, 0.1, 4000 + 700 * number), 8000)
        rows.append(
            {
                "id": str(number),
                "audio": f"{number}.wav" if number != 5 else None,
                "genre": "ab"[number % 2],
                "tempo": number,
            }
        )
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def audio_model(**settings):
    reader = LogMel(8000, 0.5, 16, 256, 80, **settings)
    encoders = {"audio": ConvNet(reader, [4], 8), "genre": EmbeddingBag(Category())}
    return JointEmbedding(4, encoders, [Match("audio", "genre", "all"), Regression("audio", "tempo")])


@pytest.fixture
def reads(monkeypatch):
    """The names of the sounds that were decoded."""
    names = []
    read = decoding.read

    def counted(path, rate):
        names.append(os.path.basename(path))
        return read(path, rate)

    monkeypatch.setattr(decoding, "read", counted)
    return names


def equal(first, second):
    assert first.keys() == second.keys()
    for column in first:
        for part in ("values", "rows", "row_keys", "offsets", "weights", "piece_keys"):
            a, b = getattr(first[column], part), getattr(second[column], part)
            assert (a is None) == (b is None) and (a is None or torch.equal(a, b)), (column, part)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    "settings", [{}, {"shift": 0.1, "speed": 0.2, "pitch": 2.0, "gain": 6.0, "equalizer": 3.0, "masks": 1}]
)
def test_batches_do_not_depend_on_workers(songs, settings):
    runs = []
    for workers in (0, 2):
        data = make_data(songs, audio_model(**settings), batch_size=3, workers=workers, balance=["genre"])
        batches = []
        for epoch in range(2):
            loader = data.train_dataloader()
            loader.sampler.set_epoch(epoch)
            batches += list(loader)
        runs.append(batches + list(data.predict_dataloader()))
    for first, second in zip(*runs, strict=True):
        equal(first, second)


def test_augmentation_changes_only_training_batches(songs):
    data = make_data(songs, audio_model(gain=6.0), batch_size=12)
    plain = make_data(songs, audio_model(), batch_size=12)
    equal(next(iter(data.predict_dataloader())), next(iter(plain.predict_dataloader())))
    order = []
    for epoch in (0, 0, 1):
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)
        batch = next(iter(loader))
        order.append(
            {
                int(key): batch["audio"].values[batch["audio"].rows == row]
                for row, key in enumerate(batch["audio"].row_keys)
            }
        )
    assert order[0].keys() == order[1].keys() == order[2].keys()
    present = [key for key, values in order[0].items() if len(values)]
    assert len(present) == 11
    assert all(torch.equal(order[0][key], order[1][key]) for key in present), "the same epoch again is the same"
    assert not any(torch.equal(order[0][key], order[2][key]) for key in present)


def test_sound_is_decoded_again_only_after_a_change(songs, reads):
    first = make_data(songs, audio_model())
    files = sorted(f"{number}.wav" for number in range(12) if number != 5)
    assert set(reads) == set(files)
    reads.clear()
    make_data(songs, audio_model(shift=0.1))  # augmentation is not cached
    fitted = len(reads)  # the reader's own statistics
    assert fitted <= 11
    features = FeatureCache(first.folder() / "features", audio_model().space.reader("audio"))
    reads.clear()
    features.fill([str(songs / name) for name in files])
    assert reads == []
    soundfile.write(songs / "3.wav", np.zeros(5000), 8000)
    features = FeatureCache(first.folder() / "features", audio_model().space.reader("audio"))
    features.fill([str(songs / name) for name in files])
    assert reads == ["3.wav"]
    silence = features(features.reader, str(songs / "3.wav"))
    assert np.ptp(silence) == 0 and len(silence) == 1 + 5000 // 80


def test_cache_is_separate_for_each_spectrogram(songs, reads):
    make_data(songs, audio_model())
    reads.clear()
    features = FeatureCache(songs / ".jointembed" / "features", LogMel(8000, 0.5, 24, 256, 80))
    features.fill([str(songs / "1.wav")])
    assert reads == ["1.wav"] and features(features.reader, str(songs / "1.wav")).shape[1] == 24


def test_cached_arrays_equal_those_of_the_reader(songs):
    reader = audio_model().space.reader("audio")
    paths = [str(songs / f"{number}.wav") for number in range(12)]
    cells = [*paths, {"array": np.ones(3000, np.float32), "sampling_rate": 8000}]
    features = FeatureCache(songs / "kept", reader, workers=4)
    features.fill(cells * 3)
    again = FeatureCache(songs / "kept", reader)
    for cell in cells:
        assert np.array_equal(again(reader, cell), reader.preprocess(cell))
    # `fill` may be interrupted by a broken file; what was read before is there.
    (songs / "2.wav").write_text("no sound")
    with pytest.raises(DamagedError, match="2.wav"):
        FeatureCache(songs / "other", reader, workers=1).fill(paths)
    (songs / "2.wav").unlink()
    with pytest.raises(UsageError, match="2.wav"):
        FeatureCache(songs / "other", reader).fill(paths)


@pytest.mark.parametrize("harm", ["unlisted", "odd", "torn", "cut", "lost", "blank", "flipped"])
def test_killed_writer_loses_only_its_last_arrays(songs, harm):
    reader = audio_model().space.reader("audio")
    paths = [str(songs / f"{number}.wav") for number in range(12)]
    expected = [reader.preprocess(path) for path in paths]
    features = FeatureCache(songs / "kept", reader)
    features.fill(paths[:6])
    if harm in ("unlisted", "odd"):  # the array was written, the list was not
        with open(features.data, "ab") as file:
            file.write(bytes(400 if harm == "unlisted" else 403))
    elif harm == "torn":  # the last line of the list was cut within a number
        features.list.write_text(features.list.read_text()[:-2])
    elif harm == "cut":
        features.list.write_text("\n".join(features.list.read_text().splitlines()[:-1])[:-20])
    elif harm == "lost":  # the list came to the disk and the end of the arrays did not
        features.data.write_bytes(features.data.read_bytes()[:-401])
    elif harm == "flipped":  # a bit changed on the disk
        content = bytearray(features.data.read_bytes())
        content[100] ^= 64
        features.data.write_bytes(content)
    else:
        features.data.write_bytes(b"")
    FeatureCache(songs / "kept", reader).fill(paths[6:])  # they come to lie where the lost ones were
    for _ in range(2):
        again = FeatureCache(songs / "kept", reader)
        for path, array in zip(paths[:6], expected[:6], strict=True):
            assert np.array_equal(again(reader, path), array), f"{harm}, {path}"
        again.fill(paths)
        for path, array in zip(paths, expected, strict=True):
            assert np.array_equal(again(reader, path), array), f"{harm}, {path}"


def test_cache_of_a_read_only_folder_is_in_the_home(tmp_path):
    (tmp_path / "rows.csv").write_text("id,genre\n1,waltz\n")
    (tmp_path / ".jointembed").write_text("a file where the folder of conversions would be")
    assert Rows.open(tmp_path / "rows.csv").dicts() == [{"id": "1", "genre": "waltz"}]


def test_dev_rows_by_another_name_are_reported(capsys):
    rows = [{"words": f"w{number}", "genre": "ab"[number % 2], "split": "train"} for number in range(6)]
    make_data([row | {"split": "val"} if number < 2 else row for number, row in enumerate(rows)], worded())
    assert "the split val (2 rows) is ignored, and no row has the split dev" in capsys.readouterr().err
    make_data([row | {"split": ("val", "dev")[number % 2]} if number < 3 else row for number, row in enumerate(rows)],
              worded())  # fmt: skip
    assert "ignored" not in capsys.readouterr().err
