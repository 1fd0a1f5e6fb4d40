"""A second table, joined by a key, is as good as its cells copied to every row, and is held once an item."""

import json

import lightning
import numpy as np
import pandas
import pytest
import torch

from jointembed import MLP, BagOfWords, Category, EmbeddingBag, JointEmbedding, Match, Numbers, Space, TableData
from jointembed.__main__ import main
from jointembed.data.join import IndirectColumn, JoinedRows
from jointembed.data.rows import Rows
from jointembed.errors import UsageError

# Lightning asks torch in a way that torch is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")

ITEMS = [
    {"item": 3, "words": "a red kite", "kinds": ["toy", "sky"], "price": 9.5, "weight": 2, "maker": "x"},
    {"item": 5, "words": "a blue boat", "kinds": ["toy"], "price": None, "weight": 7, "maker": None},
    {"item": 8, "words": None, "kinds": ["food"], "price": 1.25, "weight": None, "maker": "x"},
]


def events(count):
    """Rows that name an item as a number or as text, one that is in no table, or none."""
    return [
        {
            "id": str(number),
            "split": ["train", "train", "train", "dev"][number % 4],
            "user": f"u{number % 7}",
            "item": [3, "5", 8.0, 99, 3, None][number % 6],
        }
        for number in range(count)
    ]


def copied(rows):
    content = {str(item["item"]): {k: v for k, v in item.items() if k != "item"} for item in ITEMS}
    return [{**row, **content.get(str(row["item"]).removesuffix(".0"), {})} for row in rows]


def model():
    torch.manual_seed(0)
    encoders = {
        "user": EmbeddingBag(Category()),
        "item": EmbeddingBag(Category()),
        "words": EmbeddingBag(BagOfWords()),
        "kinds": EmbeddingBag(Category()),
        "facts": MLP(Numbers(["price", "weight"]), 4, [4]),
        "price": EmbeddingBag(Category()),
    }
    parts = ["item", "words", "kinds", "facts"]
    objectives = [Match("user", "thing"), Match("user", "kinds", positives_by="maker"), Match("words", "price", "all")]
    return JointEmbedding(4, encoders, objectives, fusions={"thing": parts}, modality_dropout={"item": 0.3})


def trained(table, join=None, **settings):
    data, space = TableData(table, 8, join=join, **settings), model()
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    torch.manual_seed(1)
    trainer.fit(space, data)
    return space, data, trainer.callback_metrics["dev/loss"]


@pytest.fixture(scope="module")
def both():
    rows = events(48)
    return trained(rows, {"item": ITEMS}), trained(copied(rows))


def test_joined_and_copied_columns_give_equal_batches(both):
    (_, first, _), (_, second, _) = both
    batches = zip(first.predict_dataloader(), second.predict_dataloader(), strict=True)
    for a, b in [*batches, *zip(first.train_dataloader(), second.train_dataloader(), strict=True)]:
        assert a.keys() == b.keys() >= {"user", "item", "words", "kinds", "facts", "maker"}
        for column in a:
            for part in ("values", "rows", "row_keys", "offsets", "weights", "piece_keys"):
                x, y = getattr(a[column], part), getattr(b[column], part)
                assert (x is None) == (y is None), (column, part)
                assert x is None or (x.dtype == y.dtype and torch.equal(x, y)), (column, part)


def test_joined_and_copied_columns_train_to_equal_weights(both):
    (first, _, loss), (second, _, second_loss) = both
    assert torch.equal(loss, second_loss) and loss.isfinite()
    weights = second.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in first.state_dict().items())


def test_missing_cells_of_one_item_have_unique_keys(both):
    (_, data, _), _ = both
    x = data.encoded["words"][torch.arange(48)]
    assert len(set(x.row_keys.tolist())) == 2 + int((~x.present).sum()) and not x.present[2], "item 8 has no words"


def test_joined_column_is_stored_once_an_item():
    sizes = []
    for count in (48, 960):
        data = trained(events(count), {"item": ITEMS}, epoch_rows=8)[1]
        x = {column: first for column, first in data.encoded.items() if isinstance(first, IndirectColumn)}
        assert x.keys() == {"words", "kinds", "facts", "price", "maker"}
        parts = [
            getattr(first.items, part) for first in x.values() for part in ("values", "rows", "row_keys", "offsets")
        ]
        sizes.append(sum(part.nbytes for part in parts if part is not None))
        source, places = data.open().source(["price", "weight"])
        assert len(source) == 3 and len(places) == count and isinstance(places, np.memmap)
        assert data.open().cells("words")[0] is data.open().cells("words")[4], "the same object"
    assert sizes[0] == sizes[1]


def test_reader_may_read_columns_of_both_tables():
    rows = JoinedRows(Rows.open(events(6)), {"item": pandas.DataFrame(ITEMS)[["item", "price"]]})
    assert rows.source(["price", "user"])[1] is None and rows.source(["price"])[1].tolist() == [0, 1, 2, 3, 0, 3]
    assert rows.dicts()[0] == {"id": "0", "split": "train", "user": "u0", "item": 3, "price": 9.5}
    assert "price" not in rows.dicts()[3], "an item that no table has"
    assert rows.with_split("price").cells("price") == rows.cells("price")


def test_a_row_keeps_its_id_where_the_item_has_one_too():
    """An index needs ids of items, so that their table has some."""
    items = [{"id": f"item {item['item']}", **item} for item in ITEMS]
    joined = [JoinedRows(Rows.open(events(6)), {"item": table}) for table in (items, ITEMS)]
    assert joined[0].columns == joined[1].columns and joined[0].dicts() == joined[1].dicts()
    anonymous = [{name: cell for name, cell in row.items() if name != "id"} for row in events(6)]
    assert "id" not in JoinedRows(Rows.open(anonymous), {"item": items}).columns


def wrong(folder):
    """Joins that cannot be: a name -> (the table, the join, words of the message)."""
    (folder / "empty.csv").write_text("item,price\n")
    twice = [*ITEMS, {"item": "5"}]
    return {
        "no table": (events(6), {"item": folder / "items.parquet"}, ["does not exist", "items.parquet"]),
        "no rows": (events(6), {"item": folder / "empty.csv"}, ["empty.csv", "no rows"]),
        "no key there": (events(6), {"item": [{"itme": 3}]}, ["no such column", "did you mean itme?"]),
        "no key here": (events(6), {"thing": [{"thing": 3}]}, ["no such column", "use one of id, split"]),
        "twice": (events(6), {"item": twice}, ["5 in rows 2 and 4", "one row for each key"]),
        "both": (copied(events(6)), {"item": ITEMS}, ["both have a column words", "rename words"]),
        "two joins": (events(6), {"item": ITEMS, "user": [{"user": "u1", "price": 3}]}, ["both have a column price"]),
        "no match": (events(6), {"item": [{"item": "item 3", "price": 1}]}, ["none of the keys"]),
        "several": ([{"id": "1", "item": [3, 5]}], {"item": ITEMS}, ["row 1", "one id"]),
    }


WRONG = ["no table", "no rows", "no key there", "no key here", "twice", "both", "two joins", "no match", "several"]


@pytest.mark.parametrize("name", WRONG)
def test_invalid_joins_are_refused(name, tmp_path):
    table, join, words = wrong(tmp_path)[name]
    with pytest.raises(UsageError) as failure:
        TableData(table, join=join).open()
    line = str(failure.value)
    assert all(word in line for word in words) and "Fix: " in line and "\n" not in line
    assert name == "no rows" or next(iter(join)) in line or "user" in line


RECIPE = """\
model:
  dim: 4
  encoders:
    item: {class_path: EmbeddingBag, init_args: {reader: {class_path: Category}}}
    words: {class_path: EmbeddingBag, init_args: {reader: {class_path: BagOfWords}}}
    user: {class_path: EmbeddingBag, init_args: {reader: {class_path: Category}}}
  objectives:
    - {class_path: Match, init_args: {query: user, target: thing}}
  fusions:
    thing: [item, words]
data:
  join: {item: items.jsonl}
  batch_size: 8
trainer:
  callbacks:
    - class_path: jointembed.BestAndLast
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The folder of a table, of one that it is joined with, and of a run."""
    folder = tmp_path_factory.mktemp("home")
    rows = [{key: cell for key, cell in row.items() if cell is not None} for row in events(24)]
    for name, listed in (("rows.jsonl", rows), ("items.jsonl", ITEMS)):
        (folder / name).write_text("\n".join(map(json.dumps, listed)))
    (folder / "my.yaml").write_text(RECIPE)
    assert main(["fit", "-c", str(folder / "my.yaml"), "-c", "tiny", "--data.table", str(folder),
                 "--trainer.default_root_dir", str(folder / "run")]) == 0  # fmt: skip
    return folder


def test_run_remembers_its_joins(home, capsys):
    run, table = str(home / "run"), str(home)
    for words in (
        ["evaluate", run, table, "--query", "user", "--target", "thing", "--split", "all", "--json"],
        ["evaluate", run, table, "--query", "words", "--target", "item", "--split", "all", "--json"],
    ):
        assert main(words) == 0, capsys.readouterr().err
        assert json.loads(capsys.readouterr().out)["queries"] == (7 if "user" in words else 2)
    assert main(["index", run, table, str(home / "all.index"), "--column", "thing"]) == 0
    assert main(["embed", run, table, str(home / "all.parquet"), "--column", "thing"]) == 0
    vectors = pandas.read_parquet(home / "all.parquet").set_index("id")["vector"]
    space = Space.load(run)
    for row, cell in {"0": {"item": 3, "words": "a red kite"}, "2": {"item": 8}}.items():
        assert np.array_equal(vectors[row], space.embed("thing", [cell])[0])
    assert main(["embed", run, str(home / "items.jsonl"), str(home / "no.parquet"), "--column", "words"]) == 2
    assert "no such column" not in capsys.readouterr().err, "items are not joined with themselves"


def test_missing_joined_table_is_reported_with_its_path(home, tmp_path, capsys):
    (tmp_path / "rows.jsonl").write_text((home / "rows.jsonl").read_text())
    capsys.readouterr()
    assert main(["evaluate", str(home / "run"), str(tmp_path), "--query", "user", "--target", "thing"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"data.join.item: the table {tmp_path / 'items.jsonl'} does not exist" in error


def test_keys_without_an_item_are_counted_and_keep_their_zeros(tmp_path, capsys):
    (tmp_path / "rows.csv").write_text("id,song\n" + "".join(f"{n},{n:03}\n" for n in range(40)) + "x,\n")
    (tmp_path / "songs.csv").write_text("song,artist\n" + "".join(f"{n:03},A{n}\n" for n in range(37)))
    data = TableData(str(tmp_path), join={"song": "songs.csv"})
    assert data.open().cells("artist") == [f"A{n}" for n in range(37)] + [None] * 4
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "3 of 41 rows" in err and "songs.csv lacks, such as '037'" in err
    (tmp_path / "songs.csv").write_text("song,artist\n" + "".join(f"{n:03},A{n}\n" for n in range(40)))
    TableData(str(tmp_path), join={"song": "songs.csv"}).open()
    assert not capsys.readouterr().err


def test_joined_columns_have_the_types_that_are_given(tmp_path):
    (tmp_path / "rows.csv").write_text("id,song\na,1\nb,2\n")
    (tmp_path / "songs.csv").write_text("song,code\n1,7\n2,8\n")
    rows = TableData(str(tmp_path), join={"song": "songs.csv"}, types={"code": "text"}).open()
    assert rows.cells("code") == ["7", "8"] and rows.cells("song") == [1, 2]
    assert rows.with_split("id").cells("code") == ["7", "8"]


def test_tables_of_one_folder_have_separate_caches(tmp_path):
    for name in ("rows.csv", "items.csv"):
        (tmp_path / name).write_text(f"item,{name[0]}\n3,1\n")
    for _ in range(2):
        assert JoinedRows(Rows.open(tmp_path / "rows.csv"), {"item": "items.csv"}).cells("i") == [1]
    assert sorted(path.name[:5] for path in (tmp_path / ".jointembed").glob("*.parquet")) == ["items", "rows."]
