"""The whole path through the commands, and every failure as one line with its exit code."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import lightning
import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from jointembed import (
    BagOfWords,
    Category,
    EmbeddingBag,
    Evaluate,
    Index,
    JointEmbedding,
    Match,
    Space,
    SparseImage,
    TableData,
)
from jointembed.__main__ import main
from jointembed.cli.help import commands
from jointembed.training.trainer import Trainer

# Lightning asks torch in a way that torch is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")

RECIPE = """\
# Pictures, words and genres of a made-up table.
model:
  dim: 8
  encoders:
    bitmap:
      class_path: EmbeddingBag
      init_args:
        reader: {class_path: SparseImage, init_args: {shape: [4, 4]}}
    words: {class_path: EmbeddingBag, init_args: {reader: {class_path: BagOfWords}}}
    genre: {class_path: EmbeddingBag, init_args: {reader: {class_path: Category}}}
  objectives:
    - {class_path: Match, init_args: {query: bitmap, target: genre, candidates: all}}
    - {class_path: Match, init_args: {query: words, target: genre, candidates: all}}
  fusions:
    item: [bitmap, words]
  lr: 0.1
data:
  batch_size: 8
trainer:
  max_epochs: 2
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
  callbacks:
    - class_path: jointembed.Evaluate
      init_args: {query: bitmap, target: genre}
    - class_path: jointembed.BestAndLast
      init_args: {monitor: bitmap-genre/recall@1, mode: max}
"""
GENRES = ("waltz", "reel", "jig", "blues")
COMMON = {"waltz": "slow and turning", "reel": "fast fiddle", "jig": "six eight", "blues": "sad guitar"}


def rows():
    """Forty rows: a genre decides a quarter of the picture and most of the words."""
    rng = np.random.default_rng(0)
    table_rows = []
    for number in range(40):
        kind = number % 4
        bitmap = rng.integers(0, 60, (4, 4))
        bitmap[kind] = 255
        title = "Twins" if number in (6, 7) else f"Tune {number}"
        split = "test" if number >= 32 else "dev" if number >= 24 else "train"
        words = f"{COMMON[GENRES[kind]]} number{number % 3}"
        table_rows.append({"id": f"s{number:02}", "split": split, "title": title, "genre": GENRES[kind], "words": words,
                     "tempo": 60 + number, "bitmap": bitmap.ravel().tolist()})  # fmt: skip
    return table_rows


def write(path, table):
    path.write_text("\n".join(map(json.dumps, table)) + "\n")
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a table, a recipe, a trained run and its index."""
    folder = tmp_path_factory.mktemp("home")
    write(folder / "rows.jsonl", rows())
    (folder / "recipe.yaml").write_text(RECIPE)
    Image.fromarray(np.array(rows()[1]["bitmap"], np.uint8).reshape(4, 4)).save(folder / "reel.png")
    assert main(fit(folder)) == 0
    assert (
        main(
            [
                "index",
                str(folder / "run"),
                str(folder / "rows.jsonl"),
                str(folder / "songs.index"),
                "--column",
                "bitmap",
            ]
        )
        == 0
    )
    return folder


def fit(folder, *more, run="run"):
    return [
        "fit", "-c", str(folder / "recipe.yaml"), "--data.table", str(folder / "rows.jsonl"),
        "--trainer.default_root_dir", str(folder / run), *more,
    ]  # fmt: skip


@pytest.fixture
def ask(capsys):
    """What a command prints, which must succeed; as JSON where that is asked for."""

    def execute(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert code == 0, err
        return json.loads(out) if "--json" in words else out

    return execute


def test_a_fit_leaves_a_run_folder(home):
    names = {path.name for path in (home / "run").iterdir() if not path.name.startswith(".")}
    assert names == {"best.ckpt", "last.ckpt", "previous.ckpt", "config.yaml", "metrics.csv", "curves.png"}
    figures = (home / "run" / "metrics.csv").read_text()
    assert all(name in figures for name in ("train/loss", "dev/loss", "bitmap-genre/recall@1"))
    assert "Fix" not in figures and "batch_size: 8" in (home / "run" / "config.yaml").read_text()
    best = torch.load(home / "run" / "best.ckpt", weights_only=True)
    assert best["epoch"] < 2 and "jointembed" in best


def test_similar_takes_an_id_a_title_a_path_or_a_file(home, ask):
    index = home / "songs.index"
    hits = ask("similar", index, "s01", "-k", "5", "--json")
    assert [hit["rank"] for hit in hits] == [1, 2, 3, 4, 5] and "s01" not in [hit["id"] for hit in hits]
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
    assert hits[0]["row"]["genre"] == "reel" and hits[0]["row"]["title"].startswith("Tune")
    assert ask("similar", index, "Tune 1", "-k5", "--json") == hits
    file_hits = ask("similar", index, home / "reel.png", "--k", "1", "--json")
    assert file_hits[0]["id"] == "s01" and file_hits[0]["score"] > 0.999, "a file is embedded"
    plain = ask("similar", index, "s01", "-k", "3")
    assert len(plain.splitlines()) == 5 and hits[0]["id"] in plain and "reel" in plain


def test_where_narrows_every_query(home, ask):
    index = home / "songs.index"
    hits = ask("similar", index, "s01", "--where", "genre = 'jig' and tempo > 70", "--json")
    expected = {row["id"] for row in rows() if row["genre"] == "jig" and row["tempo"] > 70}
    assert {hit["id"] for hit in hits} == expected
    hits = ask("search", index, "fast fiddle", "--where", "split = 'test'", "--json")
    assert {hit["row"]["split"] for hit in hits} == {"test"}


def test_search_takes_words_ids_images_and_rows(home, ask, capsys):
    index = home / "songs.index"
    model = Space.load(home / "run")
    with Index.open(index) as opened:
        ids, vectors = opened.vectors()

    def best(column, cell):
        return ids[int((vectors @ model.embed(column, [cell])[0]).argmax())]

    for words, column, cell in [
        (["sad guitar"], "words", "sad guitar"),
        (["jig", "--column", "genre"], "genre", "jig"),
        ([home / "reel.png"], "bitmap", rows()[1]["bitmap"]),
        (['{"words": "slow"}'], "item", {"words": "slow"}),
        (['{"words": "slow"}', "--column", "item"], "item", {"words": "slow"}),
        ([json.dumps(rows()[2]["bitmap"]), "--column", "bitmap"], "bitmap", rows()[2]["bitmap"]),
    ]:
        hits = ask("search", index, *words, "-k", "1", "--json")
        assert hits[0]["id"] == best(column, cell), words
    capsys.readouterr()
    assert main(["search", str(index), "zyx"]) == 0
    assert "knows none of these words" in capsys.readouterr().err


def test_evaluate_prints_the_agreed_json(home, ask):
    report = ask("evaluate", home / "run", home / "rows.jsonl", "--query", "bitmap", "--target", "genre", "--json")
    assert report["queries"] == 8 and report["pool"] == 4
    figures = report["metrics"]
    assert {
        "hit@1",
        "hit@5",
        "hit@10",
        "recall@1",
        "recall@5",
        "recall@10",
        "precision@1",
        "map",
        "ndcg@10",
    } <= figures.keys()
    for name, figure in figures.items():
        assert set(figure) == {"value", "low", "high", "chance"}, name
        if figure["low"] is not None:
            assert figure["low"] - 1e-9 <= figure["value"] <= figure["high"] + 1e-9
    assert figures["recall@1"]["chance"] == pytest.approx(0.25)
    model, test_rows = Space.load(home / "run"), [row for row in rows() if row["split"] == "test"]
    scores = model.embed("bitmap", [row["bitmap"] for row in test_rows]) @ model.embed("genre", GENRES).T
    right = [GENRES[best] == row["genre"] for best, row in zip(scores.argmax(1), test_rows, strict=True)]
    assert figures["recall@1"]["value"] == pytest.approx(np.mean(right))
    near = ask("evaluate", home / "run", home, "--query", "bitmap", "--target", "bitmap", "--relevant", "genre",
               "--split", "test", "--candidates-split", "train", "--k", "3", "--json")  # fmt: skip
    assert (
        near["queries"] == 8 and near["pool"] == 24 and "knn@5" in near["metrics"] and "precision@3" in near["metrics"]
    )
    assert "recall@1" in ask("evaluate", home / "run", home, "--query", "words", "--target", "genre", "--split", "all")


def test_embed_writes_the_vectors_of_the_index(home, ask, tmp_path):
    ask("embed", home / "run", home / "rows.jsonl", tmp_path / "v.parquet", "--column", "bitmap")
    table = parquet.read_table(tmp_path / "v.parquet")
    vectors = np.array(table["vector"].to_pylist(), np.float32)
    with Index.open(home / "songs.index") as index:
        ids, expected = index.vectors()
    assert table["id"].to_pylist() == ids == [row["id"] for row in rows()] and np.array_equal(vectors, expected)
    assert table.schema.metadata[b"metric"] == b"cosine"
    assert table.schema.metadata[b"model"].decode() == Space.load(home / "run").fingerprint
    ask("embed", home / "run", home, tmp_path / "t.parquet", "--column", "item", "--split", "test")
    assert parquet.read_table(tmp_path / "t.parquet").num_rows == 8


def test_resume_auto_goes_on_where_a_run_stopped(home, ask, capsys, tmp_path):
    shutil.copytree(home / "run", tmp_path / "run")
    again = ["--trainer.default_root_dir", tmp_path / "run"]
    capsys.readouterr()
    assert main(fit(home, *map(str, again))) == 2
    error = capsys.readouterr().err
    assert "holds a run already" in error and "--resume auto" in error
    step = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"]
    ask(*fit(home), *again, "--resume", "auto", "--trainer.max_epochs", "3")
    checkpoint = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert step == 6 and checkpoint["global_step"] == 9 and checkpoint["epoch"] == 3
    names = {path.name for path in (tmp_path / "run").glob("*.ckpt")}
    assert names == {"best.ckpt", "last.ckpt", "previous.ckpt"}


def test_a_resumed_run_ends_where_one_without_a_break_does(home, capsys, tmp_path):
    """From a checkpoint of the middle to the end: the same batches, the same learning rates, the same weights."""
    words = fit(home, "--trainer.max_epochs", "4")
    assert main([*words, "--trainer.default_root_dir", str(tmp_path / "whole")]) == 0, capsys.readouterr().err
    (tmp_path / "half").mkdir()
    shutil.copy(tmp_path / "whole" / "best.ckpt", tmp_path / "half" / "last.ckpt")
    step = torch.load(tmp_path / "half" / "last.ckpt", weights_only=True)["global_step"]
    resumed = [*words, "--trainer.default_root_dir", str(tmp_path / "half"), "--ckpt_path", "last"]
    assert main(resumed) == 0, capsys.readouterr().err
    first, two = (torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("whole", "half"))
    assert step < first["global_step"] == two["global_step"] == 12
    for name, value in first["state_dict"].items():
        assert torch.equal(value, two["state_dict"][name]), name


def test_a_checkpoint_brings_its_vocabulary_to_another_table(home, capsys, tmp_path):
    other_table = changed(
        tmp_path,
        "other",
        lambda row: row | {"words": "quite other words", "genre": "polka" if row["genre"] == "jig" else row["genre"]},
    )
    shutil.copytree(home / "run", tmp_path / "run")
    place = ["--trainer.default_root_dir", str(tmp_path / "run"), "--data.table", str(other_table), "--ckpt_path"]
    assert main(fit(home, *place, "last", "--trainer.max_epochs", "3")) == 0, capsys.readouterr().err
    old, new = Space.load(home / "run" / "last.ckpt"), Space.load(tmp_path / "run" / "last.ckpt")
    assert new.reader("genre").vocabulary() == old.reader("genre").vocabulary() == sorted(GENRES)
    assert new.reader("words").vocabulary() == old.reader("words").vocabulary()


@pytest.mark.parametrize("where", ["best", "last", "best.ckpt", "folder"])
def test_validate_test_and_predict_run_on_a_checkpoint(home, where, capsys):
    path = {"best.ckpt": str(home / "run" / "best.ckpt"), "folder": str(home / "run")}.get(where, where)
    model = JointEmbedding.load(home / "run" / ("last.ckpt" if where == "last" else "best.ckpt"))
    logged = (home / "run" / "metrics.csv").read_bytes()
    for command in ("validate", "test", "predict"):
        assert main([command, *fit(home)[1:], "--ckpt_path", path]) == 0, capsys.readouterr().err
        assert (home / "run" / "metrics.csv").read_bytes() == logged, "it belongs to the training"
        printed = capsys.readouterr().out
        if command == "test":
            batch = {}
            for column in model.space.columns:
                batch[column] = model.space.reader(column).encode(
                    [row[column] for row in rows() if row["split"] == "test"]
                )
            with torch.no_grad():
                expected = float(sum(model.losses(batch).values()))
            got = re.search(r"test/loss\W+([0-9.]+)", printed)
            assert float(got[1]) == pytest.approx(expected, rel=1e-4), printed


def test_predict_writes_the_likeliest_labels_with_calibrated_probabilities(home, capsys):
    predict = ["predict", *fit(home)[1:], "--ckpt_path", "last", "--proba"]
    assert main([*predict, "-k", "3"]) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    table = pyarrow.parquet.read_table(home / "run" / "probabilities.parquet").to_pylist()
    assert [row["id"] for row in table] == [row["id"] for row in rows()]
    model = JointEmbedding.load(home / "run" / "last.ckpt")
    labels, factor = (
        model.label_names("words", "genre"),
        float(re.search(r"words_genre: .* by ([0-9.]+),", printed)[1]),
    )
    assert factor != 1
    probabilities = model.predict_proba("words", [row["words"] for row in rows()], "genre", factor)
    for row, expected in zip(table, probabilities, strict=True):
        probability = [label["probability"] for label in row["words_genre"]]
        same_labels = [expected[labels.index(label["label"])] for label in row["words_genre"]]
        assert probability == pytest.approx(same_labels, abs=0.01) and probability == pytest.approx(
            np.sort(expected)[:0:-1], abs=0.01
        )
    right = [row["words_genre"][0]["label"] == source["genre"] for row, source in zip(table, rows(), strict=True)]
    assert f"words_genre, test: accuracy {np.mean(right[32:]):.3f}, expected calibration error" in printed


def test_predict_computes_a_batch_once_for_all_labels(home, capsys, monkeypatch):
    calls = []
    forward = Space.forward
    monkeypatch.setattr(Space, "forward", lambda space, *args: calls.append(args) or forward(space, *args))
    counts = []
    for more in ([], ["--proba"]):
        calls.clear()
        assert main(["predict", *fit(home)[1:], "--ckpt_path", "last", *more]) == 0, capsys.readouterr().err
        counts.append(len(calls))
    dev_batches = 1
    assert counts[1] <= 2 * counts[0] + dev_batches, "with two labels it was three times and twice the dev rows"


def test_predict_calibrates_on_dev_rows_only(home, capsys, tmp_path):
    unlabelled = [{**row, "split": "test"} for row in rows()]
    del unlabelled[0]["bitmap"]
    words = [
        *fit(home)[1:],
        "--ckpt_path",
        str(home / "run"),
        "--data.table",
        str(write(tmp_path / "t.jsonl", unlabelled)),
    ]
    assert main(["predict", *words, "--proba"]) == 0, capsys.readouterr().err
    assert "temperature" not in capsys.readouterr().out
    table = pyarrow.parquet.read_table(home / "run" / "probabilities.parquet").to_pylist()
    assert table[0]["bitmap_genre"] is None and len(table[0]["words_genre"]) == 1


@pytest.mark.parametrize(("words", "line"), [
    (["--proba", "-k", "0"], "-k: must be a whole number of at least 1, got '0'"),
    (["-k", "5"], "-k: it is the number of labels that --proba writes"),
])  # fmt: skip
def test_predict_refuses_what_it_cannot_write(home, words, line, capsys):
    assert main(["predict", *fit(home)[1:], *words]) == 2
    assert line in capsys.readouterr().err


def test_indexing_again_replaces_rows_and_another_column_joins_them(home, ask, tmp_path):
    shutil.copy(home / "songs.index", tmp_path / "songs.index")
    ask("index", home / "run", home, tmp_path / "songs.index", "--column", "bitmap")
    ask("index", home / "run", home, tmp_path / "songs.index", "--column", "words", "--split", "test")
    with Index.open(tmp_path / "songs.index") as index:
        assert len(index) == 40 and index.fields == ["bitmap", "words"] and len(index.ids("words")) == 8
    assert len(ask("similar", tmp_path / "songs.index", "s39", "--field", "words", "-k", "50", "--json")) == 7


# -- Python ------------------------------------------------------------------------------------------------------------


def test_model_is_trained_saved_and_searched_from_python(tmp_path):
    rng = np.random.default_rng(0)
    table = [{"id": f"{n}", "bitmap": np.eye(4)[n % 4] * rng.random((4, 4)), "digit": n % 4} for n in range(40)]
    torch.manual_seed(0)
    model = JointEmbedding(
        8,
        {"bitmap": EmbeddingBag(SparseImage([4, 4])), "digit": EmbeddingBag(Category())},
        [Match("bitmap", "digit", "all")],
        lr=0.1,
    )
    trainer = lightning.Trainer(max_epochs=30, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                                enable_model_summary=False, default_root_dir=tmp_path)  # fmt: skip
    trainer.fit(model, TableData(table, batch_size=10))
    space = model.space
    vectors = space.embed("bitmap", [row["bitmap"] for row in table])
    with Index.create(tmp_path / "bitmaps.index", 8, space.metric, fingerprint=space.fingerprint) as index:
        index.add(table, vectors, "bitmap")
        hits = index.similar("3", 5)
        assert [hit.row["digit"] for hit in index.search(space.embed("digit", [2])[0], 5)] == [2] * 5
    assert [hit.row["digit"] for hit in hits] == [3] * 5
    model.save(tmp_path / "model.ckpt")
    again = Space.load(tmp_path / "model.ckpt")
    assert np.array_equal(again.embed("bitmap", [row["bitmap"] for row in table]), vectors)
    assert again.fingerprint == space.fingerprint


def test_a_euclidean_space_is_searched_by_its_distance(tmp_path, ask):
    write(tmp_path / "rows.jsonl", rows())
    torch.manual_seed(0)
    encoders = {
        "bitmap": EmbeddingBag(SparseImage([4, 4])),
        "genre": EmbeddingBag(Category()),
        "words": EmbeddingBag(BagOfWords()),
    }
    objectives = [Match("bitmap", "genre", "all"), Match("words", "bitmap")]
    model = JointEmbedding(3, encoders, objectives, metric="euclidean", lr=0.05)
    trainer = Trainer(max_epochs=2, default_root_dir=tmp_path / "run",
                      enable_progress_bar=False, enable_model_summary=False,
                      log_every_n_steps=1, callbacks=[Evaluate("bitmap", "genre")])  # fmt: skip
    trainer.fit(model, TableData(str(tmp_path), batch_size=8))
    ask("index", tmp_path / "run", tmp_path, tmp_path / "flat.index")
    model = Space.load(tmp_path / "run")
    vectors = model.embed("bitmap", [row["bitmap"] for row in rows()]).astype(np.float64)
    assert np.linalg.norm(vectors, axis=1).std() > 1e-3
    for number in (0, 17):
        distances = ((vectors - vectors[number]) ** 2).sum(1)
        nearest = [n for n in np.argsort(distances, kind="stable") if n != number][:10]
        hits = ask("similar", tmp_path / "flat.index", f"s{number:02}", "--json")
        assert [hit["id"] for hit in hits] == [f"s{n:02}" for n in nearest]
        assert [hit["score"] for hit in hits] == pytest.approx([-distances[n] for n in nearest], rel=1e-4, abs=1e-6)
    query = model.embed("words", ["fast fiddle"])[0].astype(np.float64)
    nearest = np.argsort(((vectors - query) ** 2).sum(1), kind="stable")[:5]
    hits = ask("search", tmp_path / "flat.index", "fast fiddle", "--column", "words", "-k", "5", "--json")
    assert [hit["id"] for hit in hits] == [f"s{n:02}" for n in nearest]


# -- failures ----------------------------------------------------------------------------------------------------------


def changed(folder, name, change):
    """A copy of the table in which every row went through `change`."""
    folder.mkdir(exist_ok=True)
    return write(folder / f"{name}.jsonl", [change(dict(row)) for row in rows()])


def trial(name, home, folder):
    """The words of a command that fails."""
    run, index, table = home / "run", home / "songs.index", home / "rows.jsonl"
    recipe = folder / "recipe.yaml"
    fitted = [*fit(home), "--trainer.default_root_dir", folder / "run"]
    if name == "missing column":
        return [
            *fitted,
            "--data.table",
            changed(folder, name, lambda row: {("word" if k == "words" else k): v for k, v in row.items()}),
        ]
    if name == "wrong cell":
        return [*fitted, "--data.table", changed(folder, name, lambda row: row | {"words": row["tempo"]})]
    if name == "wrong picture":
        return [*fitted, "--data.table", changed(folder, name, lambda row: row | {"bitmap": [1, 2, 3]})]
    if name in ("broken sound", "missing sound"):
        if name == "broken sound":
            (folder / "a.wav").write_text("no sound")
        recipe.write_text(
            RECIPE.replace("SparseImage, init_args: {shape: [4, 4]}", "LogMel").replace(
                "class_path: EmbeddingBag\n", "class_path: ConvNet\n", 1
            )
        )
        return [*fitted, "-c", recipe, "--data.table", changed(folder, name, lambda row: row | {"bitmap": "a.wav"})]
    if name == "no train":
        return [*fitted, "--data.table", changed(folder, name, lambda row: row | {"split": "test"})]
    if name == "no table":
        return [*fitted, "--data.table", folder / "nowhere"]
    if name == "empty table":
        return [*fitted, "--data.table", write(folder / "empty.jsonl", [])]
    if name == "empty table, index":
        return ["index", run, write(folder / "empty.jsonl", []), folder / "new.index"]
    if name == "broken table":
        (folder / "rows.jsonl").write_text('{"id": "a"}\n{"id": \n')
        return ["index", run, folder, folder / "new.index"]
    if name == "batch size":
        return [*fitted, "--data.batch_size", "0"]
    if name == "recipe key":
        recipe.write_text(RECIPE.replace("batch_size", "batchsize"))
        return [*fitted, "-c", recipe]
    if name == "recipe class":
        recipe.write_text(RECIPE.replace("{class_path: BagOfWords}", "{class_path: Wrods}"))
        return [*fitted, "-c", recipe]
    if name == "recipe column":
        recipe.write_text(RECIPE.replace("query: words", "query: word"))
        return [*fitted, "-c", recipe]
    if name == "recipe yaml":
        recipe.write_text("model: [1,\n")
        return [*fitted, "-c", recipe]
    if name == "unknown recipe":
        return ["fit", "-c", "mnist/deep33d"]
    if name == "unknown recipe, recipes":
        return ["recipes", "song/joint"]
    if name == "unknown command":
        return ["simular", index, "s01"]
    if name == "unknown option":
        return ["similar", index, "s01", "--wher", "x"]
    if name == "missing argument":
        return ["similar", index]
    if name == "unknown id":
        return ["similar", index, "s1"]
    if name == "unknown id, search":
        return ["search", index, "walz", "--column", "genre"]
    if name == "ambiguous title":
        return ["similar", index, "Twins"]
    if name == "where":
        return ["similar", index, "s01", "--where", "genre = "]
    if name == "where column":
        return ["similar", index, "s01", "--where", "gender = 'reel'"]
    if name == "no index":
        return ["similar", folder / "none.index", "s01"]
    if name == "unknown column":
        return ["search", index, "x", "--column", "wrods"]
    if name == "unknown column, index":
        return ["index", run, table, folder / "new.index", "--column", "bitmaps"]
    if name == "no hits":
        return ["similar", index, "s01", "-k", "0"]
    if name == "empty query":
        return ["search", index, " "]
    if name == "evaluate column":
        return ["evaluate", run, table, "--query", "bitmap", "--target", "genere"]
    if name == "evaluate split":
        return ["evaluate", run, table, "--query", "bitmap", "--target", "genre", "--split", "tset"]
    if name == "evaluate k":
        return ["evaluate", run, table, "--query", "bitmap", "--target", "genre", "--k", "0,x"]
    if name == "no model":
        return ["index", folder, table, folder / "new.index"]
    if name == "no ids":
        return [
            "index",
            run,
            changed(folder, name, lambda row: {k: v for k, v in row.items() if k != "id"}),
            folder / "new.index",
        ]
    if name == "embed ending":
        return ["embed", run, table, folder / "v.csv"]
    if name in ("other model", "other model, search"):
        model = Space.load(run)
        with torch.no_grad():
            model.encoders["words"].table.weight += 1
        model.save(folder / "other.ckpt")
        if name == "other model":
            return ["index", folder / "other.ckpt", table, index]
        shutil.copytree(run, folder / "moved")
        assert main(["index", str(folder / "moved"), str(table), str(folder / "i.index"), "--column", "bitmap"]) == 0
        shutil.copy(folder / "other.ckpt", folder / "moved" / "best.ckpt")
        return ["search", folder / "i.index", "sad guitar"]
    if name == "damaged checkpoint":
        whole = (run / "best.ckpt").read_bytes()
        (folder / "best.ckpt").write_bytes(whole[: len(whole) // 2])
        return ["index", folder, table, folder / "new.index"]
    if name == "damaged checkpoint, resume":
        whole = (run / "last.ckpt").read_bytes()
        (folder / "last.ckpt").write_bytes(whole[:5000] + bytes(4000) + whole[9000:])
        return [*fitted, "--ckpt_path", folder / "last.ckpt"]
    if name == "damaged index":
        (folder / "b.index").write_bytes(index.read_bytes()[:6000])
        return ["similar", folder / "b.index", "s01"]
    assert name == "no index but text"
    (folder / "b.index").write_text("no index " * 100)
    return ["similar", folder / "b.index", "s01"]


FAILURES = {
    "missing column": (2, "words: the table has no such column", "did you mean word"),
    "wrong cell": (2, "the cell must be text, got int"),
    "wrong picture": (2, "expected an image of (4, 4), got (3,)"),
    "broken sound": (5, "a.wav", "cannot be decoded"),
    "missing sound": (2, "a.wav", "the file does not exist"),
    "no train": (2, "no row has `train`"),
    "no table": (2, "nowhere", "the table does not exist"),
    "empty table": (2, "empty.jsonl", "no rows"),
    "empty table, index": (2, "empty.jsonl", "no rows"),
    "broken table": (5, "line 2"),
    "batch size": (2, "batch_size"),
    "recipe key": (2, "batchsize"),
    "recipe class": (2, "Wrods"),
    "recipe column": (2, "word", "did you mean words"),
    "recipe yaml": (2, "recipe.yaml"),
    "unknown recipe": (2, "mnist/deep33d", "did you mean mnist/deep3d"),
    "unknown recipe, recipes": (2, "song/joint", "did you mean songs/joint"),
    "unknown command": (2, "simular", "did you mean similar"),
    "unknown option": (2, "wher"),
    "missing argument": (2, "ITEM is missing"),
    "unknown id": (2, "s1", "did you mean s"),
    "unknown id, search": (2, "walz", "did you mean waltz"),
    "ambiguous title": (2, "2 items have this title", "s06, s07"),
    "where": (2, "genre ="),
    "where column": (2, "gender", "genre"),
    "no index": (2, "none.index", "jointembed index"),
    "unknown column": (2, "wrods", "did you mean words"),
    "unknown column, index": (2, "bitmaps", "did you mean bitmap"),
    "no hits": (2, "k: must be at least 1, got 0"),
    "empty query": (2, "empty"),
    "evaluate column": (2, "genere", "did you mean genre"),
    "evaluate split": (2, "tset"),
    "evaluate k": (2, "0,x"),
    "no model": (2, "best.ckpt"),
    "no ids": (2, "id"),
    "embed ending": (2, "v.csv", "v.parquet"),
    "other model": (4, "another model made the vectors", "jointembed index"),
    "other model, search": (4, "another model made the vectors", "jointembed index"),
    "damaged checkpoint": (5, "best.ckpt", "damaged"),
    "damaged checkpoint, resume": (5, "last.ckpt", "damaged"),
    "damaged index": (5, "b.index", "broken"),
    "no index but text": (5, "b.index", "not an index"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_one_line_with_its_exit_code(name, home, tmp_path, capsys):
    words = [str(word) for word in trial(name, home, tmp_path)]
    capsys.readouterr()
    code = main(words)
    out, err = capsys.readouterr()
    expected, *parts = FAILURES[name]
    assert code == expected, err
    assert err.count("\n") == 1 and err.startswith("jointembed: error[E-"), err
    assert "Fix: " in err and "Traceback" not in err + out
    for part in parts:
        assert part in err, err
    assert not (tmp_path / "new.index").exists() and not (tmp_path / "run" / "last.ckpt").exists()


def process(folder, *words):
    place = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "jointembed", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=place)


def test_a_process_ends_with_the_exit_code_and_debug_shows_the_traceback(tmp_path):
    done = process(tmp_path, "similar", "none.index", "s01")
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    done = process(tmp_path, "similar", "none.index", "s01", "--debug")
    assert done.returncode != 0 and "Traceback" in done.stderr


@pytest.mark.slow
def test_a_fit_that_fails_is_one_line_too_in_a_process_of_its_own(home, tmp_path):
    done = process(tmp_path, *fit(home, "--data.balance", "[genr]", run=tmp_path / "run"))
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "did you mean genre" in done.stderr


def test_help_lists_every_command(ask, tmp_path):
    page = ask("--help")
    assert all(f"  {name} " in page for name in commands()) and ask() == page
    done = process(tmp_path, "similar", "--help")
    assert done.returncode == 0 and "genre = 'waltz'" in " ".join(done.stdout.split()), done.stderr


def test_an_option_with_several_values_is_repeated(tmp_path, capsys):
    model = tmp_path / "none.ckpt"
    for words in (["--trust", "mine"], ["--trust=mine"], ["--trust", "mine", "--trust", "yours"]):
        assert main(["embed", str(model), "rows.jsonl", "out.parquet", "--column", "audio", *words]) == 2
        assert "none.ckpt: the checkpoint does not exist" in capsys.readouterr().err
