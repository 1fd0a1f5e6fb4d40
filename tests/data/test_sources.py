"""Tables of other libraries: the same cells, whatever holds them, and the same vectors as their files."""

import gc
import io
import json
import tarfile
import types
from pathlib import Path

import numpy as np
import pandas
import PIL.Image
import pyarrow
import pytest
import soundfile
import torch
from pyarrow import parquet

from jointembed import (
    Category,
    ConvNet,
    EmbeddingBag,
    Image,
    JointEmbedding,
    LogMel,
    Match,
    Space,
    SparseImage,
    TableData,
    Trainer,
)
from jointembed.data.cache_folder import list_caches
from jointembed.data.join import JoinedRows
from jointembed.data.rows import Rows
from jointembed.data.table_file import FOLDER
from jointembed.errors import DamagedError, UsageError

COLUMNS = {"id": ["a", "b", "c"], "size": [1.5, None, 3.0], "tags": [["x", "y"], [], ["z"]]}
DICTS = [dict(zip(COLUMNS, cells, strict=True)) for cells in zip(*COLUMNS.values(), strict=True)]


class RowDataset:
    """A dataset as torch defines it: items by their numbers."""

    def __len__(self):
        return len(DICTS)

    def __getitem__(self, number):
        return DICTS[number]


class ArrowDataset:
    """What `jointembed` asks of a `Dataset` or an `IterableDataset` of the library `datasets`."""

    features = None

    def __init__(self, table, features=None):
        self.table, self.features = table, features

    def with_format(self, name):
        assert name == "arrow", "in any other format sounds and images would be decoded"
        return self

    def iter(self, batch_size):
        for batch in self.table.to_batches(2):
            yield pyarrow.Table.from_batches([batch])


class LazyFrame:
    """A query of polars, which computes its columns to tell their names."""

    def collect_schema(self):
        return dict.fromkeys(COLUMNS)

    def collect(self):
        return pyarrow.table(COLUMNS)


class Query:
    """A query of a database that is computed when it is asked for as Arrow."""

    columns = list(COLUMNS)

    def to_arrow_table(self):
        return pyarrow.table(COLUMNS)


def polars_frame():
    return pytest.importorskip("polars").DataFrame(COLUMNS)


def duckdb_relation():
    duckdb = pytest.importorskip("duckdb")
    duckdb.register("rows_of_arrow", pyarrow.table(COLUMNS))
    return duckdb.sql("SELECT * FROM rows_of_arrow ORDER BY id")


TABLES = {
    "list of dicts": lambda: DICTS,
    "dict of lists": lambda: COLUMNS,
    "dict of arrays": lambda: {**COLUMNS, "size": np.array([1.5, np.nan, 3.0])},
    "generator": lambda: (row for row in DICTS),
    "iterator": lambda: iter(DICTS),
    "dataset of torch": RowDataset,
    "pandas": lambda: pandas.DataFrame(COLUMNS),
    "pyarrow Table": lambda: pyarrow.table(COLUMNS),
    "pyarrow RecordBatch": lambda: pyarrow.RecordBatch.from_pydict(COLUMNS),
    "pyarrow RecordBatchReader": lambda: pyarrow.table(COLUMNS).to_reader(),
    "stream of Arrow": lambda: types.SimpleNamespace(__arrow_c_stream__=pyarrow.table(COLUMNS).__arrow_c_stream__),
    "query": Query,
    "lazy query": LazyFrame,
    "datasets": lambda: ArrowDataset(pyarrow.table(COLUMNS)),
    "polars DataFrame": polars_frame,
    "polars LazyFrame": lambda: polars_frame().lazy(),
    "DuckDB relation": duckdb_relation,
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_the_same_cells_whatever_library_holds_it(name):
    rows = TableData(TABLES[name]()).open()
    assert list(rows.columns) == list(COLUMNS) and rows.cells("id") == COLUMNS["id"]
    sizes = [None if cell is None or cell != cell else cell for cell in rows.cells("size")]
    assert sizes == COLUMNS["size"] and [list(cell) for cell in rows.cells("tags")] == COLUMNS["tags"]


def test_datasets_by_split_are_one_table_with_a_column_split():
    table = pyarrow.table(COLUMNS)
    splits = {"train": ArrowDataset(table), "validation": ArrowDataset(table), "test": ArrowDataset(table.slice(0, 1))}
    data = TableData(splits)
    assert [len(data.numbers(split)) for split in ("train", "dev", "test")] == [3, 3, 1]


def test_labels_of_datasets_are_their_names():
    features = {"genre": types.SimpleNamespace(names=["reel", "waltz"])}
    rows = Rows.open(ArrowDataset(pyarrow.table({"genre": [1, 0, -1]}), features))
    assert rows.cells("genre") == ["waltz", "reel", None]


@pytest.mark.parametrize(("table", "words"), [
    (3, "expected a table, got int"),
    ({"a": [1, 2], "b": [1]}, "different lengths: a 2, b 1"),
    ((number for number in range(3)), "item 0 is not a dict of columns but a int"),
    (({"a": object()} for _ in range(3)), "a cell is a object, which no column can hold"),
    ((row for row in []), "the table has no rows"),
    ({}, "the table has no rows"),
])  # fmt: skip
def test_what_is_not_a_table_is_one_line(table, words):
    with pytest.raises(UsageError, match=words):
        Rows.open(table)


# -- sounds and images in cells ----------------------------------------------------------------------------------------


class Decoder:
    """A sound that is decoded when it is asked for, as of `datasets` and torchcodec."""

    def __init__(self, path):
        self.path = path

    def get_all_samples(self):
        samples, rate = soundfile.read(self.path, dtype="float32", always_2d=True)
        return types.SimpleNamespace(data=torch.from_numpy(samples.T.copy()), sample_rate=rate)


@pytest.fixture
def sound(tmp_path):
    time = np.arange(3 * 11025) / 11025
    samples = np.stack([0.4 * np.sin(2 * np.pi * 440 * time), 0.2 * np.sin(2 * np.pi * 330 * time)], 1)
    soundfile.write(tmp_path / "sound.wav", samples, 11025, "PCM_16")
    return tmp_path / "sound.wav"


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # lies on its side
    PIL.Image.fromarray(pixels).save(tmp_path / "photo.jpg", exif=exif)
    return tmp_path / "photo.jpg"


@pytest.fixture
def drawing(tmp_path):
    colours = PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8, 4), np.uint8), "RGBA")
    colours.convert("P").save(tmp_path / "drawing.png", transparency=3)
    return tmp_path / "drawing.png"


def sound_cells(path):
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return {
        "bytes": path.read_bytes(),
        "datasets": {"bytes": path.read_bytes(), "path": "sound.wav"},
        "datasets, by its path": {"bytes": None, "path": str(path)},
        "decoder": Decoder(path),
        "array": {"array": samples, "sampling_rate": rate},
        "tensor": {"array": torch.from_numpy(samples.T.copy()), "sampling_rate": rate},
    }


def image_cells(path):
    image = PIL.Image.open(path)
    return {
        "bytes": path.read_bytes(),
        "datasets": {"bytes": path.read_bytes(), "path": "photo.jpg"},
        "datasets, by its path": {"bytes": None, "path": str(path)},
        "PIL": image,
    }


@pytest.fixture
def space():
    space = Space(4, {
        "audio": ConvNet(LogMel(8000, seconds=1.0, n_mels=8), width=4),
        "photo": ConvNet(Image([8, 8]), width=4),
        "drawing": EmbeddingBag(SparseImage([8, 8])),
    })  # fmt: skip
    torch.manual_seed(0)
    space.build()
    return space


def cells_of(column, sound, photo, drawing):
    return {"audio": (sound, sound_cells), "photo": (photo, image_cells), "drawing": (drawing, image_cells)}[column]


@pytest.mark.parametrize("column", ["audio", "photo", "drawing"])
def test_a_cell_in_memory_has_the_vector_of_its_file(column, space, sound, photo, drawing):
    path, cells = cells_of(column, sound, photo, drawing)
    expected = space.embed(column, [path])
    for name, cell in cells(path).items():
        assert (space.embed(column, [cell]) == expected).all(), name
        for table in ([{column: cell}], ({column: cell} for _ in range(1))):
            rows = Rows.open(table)
            assert (space.embed(column, rows.cells(column, paths=True)) == expected).all(), name


def test_tensors_of_images_may_have_their_channels_first(space, photo):
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (3, 12, 12), np.uint8))
    expected = space.embed("photo", [pixels.permute(1, 2, 0).numpy()])
    assert (space.embed("photo", [pixels]) == expected).all()
    assert (space.embed("drawing", [pixels[:1, :8, :8]]) == space.embed("drawing", [pixels[0, :8, :8].numpy()])).all()


def test_a_sound_whose_channels_cancel_out_is_its_left_channel_in_memory_too(space, tmp_path):
    left = 0.3 * np.sin(np.arange(16000) / 10)
    soundfile.write(tmp_path / "out.wav", np.stack([left, -left], 1), 16000, "PCM_16")
    expected = space.embed("audio", [tmp_path / "out.wav"])
    for name, cell in sound_cells(tmp_path / "out.wav").items():
        assert (space.embed("audio", [cell]) == expected).all(), name


def test_datasets_of_sounds_and_images_are_not_decoded(space, sound, photo):
    table = pyarrow.table({
        "audio": [{"bytes": sound.read_bytes(), "path": "../../evil/name.wav"}, {"bytes": None, "path": str(sound)}],
        "photo": [{"bytes": photo.read_bytes(), "path": None}, None],
        "photos": [[{"bytes": photo.read_bytes(), "path": "a.jpg"}], []],
    })  # fmt: skip
    rows = Rows.open(ArrowDataset(table))
    first, second = rows.cells("audio", paths=True)
    assert first.endswith("name.wav") and "evil" not in first and second == str(sound)
    assert (space.embed("audio", [first]) == space.embed("audio", [second])).all()
    pictures = [rows.cells("photo")[0], rows.cells("photos")[0][0]]
    assert rows.cells("photo")[1] is None and (space.embed("photo", pictures) == space.embed("photo", [photo])).all()


def test_several_images_in_a_cell_are_several_pieces(space, photo):
    content = photo.read_bytes()
    for cell in ([content] * 2, [PIL.Image.open(photo)] * 2, [{"bytes": content, "path": None}] * 2, [str(photo)] * 2):
        assert space.reader("photo").encode([cell]).counts.tolist() == [2]


def test_equal_images_in_memory_have_equal_keys(space, photo, drawing):
    reader = space.reader("photo")
    first, second, third = reader.keys([PIL.Image.open(photo), PIL.Image.open(photo), PIL.Image.open(drawing)])
    assert first == second != third


def test_damaged_content_is_one_line(space):
    for column in ("audio", "photo"):
        with pytest.raises(DamagedError) as caught:
            space.embed(column, [b"no such thing"])
        assert "/tmp" not in str(caught.value)


def test_files_of_a_spooled_table_stay_as_long_as_its_rows(photo):
    table = ({"id": number, "photo": photo.read_bytes()} for number in range(20))
    rows = JoinedRows(Rows.open(table), {"id": [{"id": number, "kind": "a"} for number in range(20)]}).with_split("id")
    gc.collect()
    assert {Path(path).read_bytes() for path in rows.cells("photo", paths=True)} == {photo.read_bytes()}


def test_files_within_parquet_are_written_to_the_cache_once(space, photo, tmp_path):
    cells = [{"bytes": photo.read_bytes(), "path": "a.jpg"}, {"bytes": None, "path": photo.name}, None]
    parquet.write_table(pyarrow.table({"id": ["a", "b", "c"], "photo": cells}), tmp_path / "rows.parquet")
    for _ in range(2):
        rows = Rows.open(tmp_path / "rows.parquet")
        first, second, third = rows.cells("photo", paths=True)
        assert second == str(photo) and third is None and Path(first).is_relative_to(tmp_path / FOLDER)
        assert (space.embed("photo", [first]) == space.embed("photo", [second])).all()
        assert [item.arrays for item in list_caches(tmp_path / FOLDER)] == [1]
    assert all(isinstance(row.get("photo", ""), str) for row in rows.dicts())


@pytest.mark.parametrize("make", [
    pytest.param(lambda rows: rows, id="list"),
    pytest.param(lambda rows: iter(rows), id="iterator"),
    pytest.param(pandas.DataFrame, id="pandas"),
    pytest.param(pyarrow.Table.from_pylist, id="Arrow"),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_image_within_a_table_is_skipped(make, photo, tmp_path, capsys):
    rows = [{"id": n, "photo": {"bytes": photo.read_bytes(), "path": "a.jpg"}, "kind": "ab"[n % 2]} for n in range(6)]
    rows[3]["photo"] = {"bytes": b"damaged", "path": "b.jpg"}
    encoders = {"photo": ConvNet(Image([8, 8]), channels=[4], width=4), "kind": EmbeddingBag(Category())}
    model = JointEmbedding(4, encoders, [Match("photo", "kind", "all")])
    trainer = Trainer(max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, enable_progress_bar=False)
    trainer.fit(model, TableData(make(rows), batch_size=3))
    assert "1 of 2 files of photo cannot be read" in capsys.readouterr().err


# -- WebDataset --------------------------------------------------------------------------------------------------------


def write_shard(path, members):
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


@pytest.fixture
def shard(tmp_path, sound):
    members = {}
    for number in range(3):
        members[f"songs/{number:04}.wav"] = sound.read_bytes()
        members[f"songs/{number:04}.seg.txt"] = f"song {number}\n".encode()
        members[f"songs/{number:04}.cls"] = b"7"
        members[f"songs/{number:04}.json"] = json.dumps({"artist": f"a{number}", "split": "train"}).encode()
    write_shard(tmp_path / "songs-000.tar", members)
    return tmp_path / "songs-000.tar"


def test_members_of_equal_stem_are_a_row(shard, space, sound):
    for _ in range(2):  # the second time from the cache
        rows = Rows.open(shard)
        assert rows.cells("id") == [f"songs/{number:04}" for number in range(3)]
        assert rows.cells("seg.txt") == ["song 0", "song 1", "song 2"] and rows.cells("cls") == [7] * 3
        assert rows.cells("artist") == ["a0", "a1", "a2"]
        assert (space.embed("audio", rows.cells("wav", paths=True)) == space.embed("audio", [sound])).all()


def test_members_of_a_shard_that_has_changed_are_pruned(shard):
    Rows.open(shard)
    (item,) = [item for item in list_caches(shard.parent / FOLDER) if item.content == "files within songs-000.tar"]
    assert not item.outdated
    write_shard(shard, {"x.txt": b"new"})
    assert Rows.open(shard).cells("txt") == ["new"]
    items = [item for item in list_caches(shard.parent / FOLDER) if item.content == "files within songs-000.tar"]
    assert sorted(bool(item.outdated) for item in items) == [False, True]


def test_shards_are_given_as_a_folder_or_a_range(shard, tmp_path):
    write_shard(tmp_path / "songs-001.tar", {"x.txt": b"last"})
    for table in (tmp_path, str(tmp_path / "songs-{000..001}.tar")):
        rows = Rows.open(table)
        assert len(rows) == 4 and rows.cells("txt")[3] == "last"
    with pytest.raises(UsageError, match="songs-002.tar: the shard does not exist"):
        Rows.open(str(tmp_path / "songs-{000..002}.tar"))


def test_nothing_is_written_outside_of_the_cache(tmp_path):
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        for name, kind in (("../up.jpg", tarfile.REGTYPE), ("/etc/absolute.jpg", tarfile.REGTYPE),
                           ("link.jpg", tarfile.SYMTYPE), ("pipe.jpg", tarfile.FIFOTYPE)):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info, io.BytesIO(b""))
    before = sorted(tmp_path.iterdir())
    rows = Rows.open(tmp_path / "evil.tar")
    assert rows.cells("id") == ["../up", "/etc/absolute"]
    assert all(tmp_path in type(tmp_path)(path).parents for path in rows.cells("jpg", paths=True))
    assert sorted(tmp_path.parent.glob("*.jpg")) == [] and len(sorted(tmp_path.iterdir())) == len(before) + 1


@pytest.mark.parametrize(("content", "words"), [
    (b"no tar at all" * 100, "cannot be read as a .tar file"),
    (None, "cannot be read as a .tar file"),
])  # fmt: skip
def test_a_damaged_shard_is_one_line_and_leaves_no_cache(shard, content, words):
    shard.write_bytes(content or shard.read_bytes()[:60000])
    for _ in range(2):
        with pytest.raises(DamagedError, match=words):
            Rows.open(shard)


def test_a_member_that_is_not_what_its_name_says_is_one_line(tmp_path):
    write_shard(tmp_path / "a.tar", {"x.cls": b"seven"})
    with pytest.raises(DamagedError, match=r"a.tar: x.cls: it is not what its name says"):
        Rows.open(tmp_path / "a.tar")


@pytest.mark.slow
def test_datasets_of_hugging_face_are_tables(space, sound, photo, tmp_path):
    datasets = pytest.importorskip("datasets")
    table = pyarrow.table({
        "audio": [{"bytes": sound.read_bytes(), "path": "a.wav"}] * 4,
        "photo": [{"bytes": photo.read_bytes(), "path": None}] * 4,
        "genre": [0, 1, 0, 1],
    })  # fmt: skip
    dataset = datasets.Dataset(table).cast_column("audio", datasets.Audio()).cast_column("photo", datasets.Image())
    dataset = dataset.cast_column("genre", datasets.ClassLabel(names=["reel", "waltz"])).shuffle(seed=0)
    streamed = dataset.to_iterable_dataset()
    mapped = dataset.remove_columns("audio").to_iterable_dataset().map(lambda row: {**row, "n": 1})
    for source in (dataset, streamed, mapped, datasets.DatasetDict({"train": dataset, "validation": dataset})):
        rows = Rows.open(source)
        assert set(rows.cells("genre")) == {"reel", "waltz"} or source is mapped
        assert (space.embed("photo", rows.cells("photo", paths=True)) == space.embed("photo", [photo])).all()
        if "audio" in rows.columns:
            assert (space.embed("audio", rows.cells("audio", paths=True)) == space.embed("audio", [sound])).all()
