"""How many dimensions a table asks for, and what prefixes of a trained model's vectors are worth."""

import json
import sys

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from jointembed import BagOfWords, Category, EmbeddingBag, JointEmbedding, Match, Space, TableData
from jointembed.__main__ import main
from jointembed.cli.dims import prefixes
from jointembed.recipe_writer.column_types import suggest_dimensions
from jointembed.training.trainer import Trainer

# Lightning asks torch in a way that torch is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")

GENRES = ["waltz", "reel", "jig", "blues", "polka"]


@pytest.fixture
def ask(capsys):
    def execute(*words, code=0):
        capsys.readouterr()
        assert main([str(word) for word in words]) == code
        out, err = capsys.readouterr()
        return err if code else (json.loads(out) if "--json" in words else out)

    return execute


def written(folder, rows):
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_half_a_million_values_start_with_26_dimensions_searched_from_15_to_35():
    assert suggest_dimensions(500_000) == (26, 15, 35)
    assert suggest_dimensions(2) == (2, 1, 3) and suggest_dimensions(0) == (2, 1, 3), "never less than two"


def test_columns_are_listed_with_their_kinds_and_values(tmp_path, ask):
    for number in range(20):
        soundfile.write(tmp_path / f"{number}.wav", np.zeros(4000, np.float32), 8000)
    rows = [
        {"id": f"r{n}", "split": "train", "audio": f"{n}.wav", "caption": [f"a slow tune, take {n}", "all the same"],
         "genre": "xyz"[n % 3], "tags": ["loud", f"t{n % 4}"], "film": n % 5, "history": [n, n + 1, n + 2][: 2 + n % 2],
         "bitmap": [0, 200, 30, 4] * 4, "price": n * 1.5, "same": 1, "nothing": None}
        for n in range(20)
    ]  # fmt: skip
    columns = {entry["column"]: entry for entry in ask("dims", written(tmp_path, rows), "--json")}
    kinds = {name: (entry["kind"], entry["values"]) for name, entry in columns.items()}
    assert kinds == {
        "id": ("id", 20), "split": ("split", 1), "audio": ("sound", 20), "caption": ("text", 21),
        "genre": ("label", 3), "tags": ("tags", 5), "film": ("label", 5), "history": ("list", 22),
        "bitmap": ("bitmap", 1), "price": ("number", 20), "same": ("other", 1), "nothing": ("other", 0),
    }  # fmt: skip
    assert columns["caption"]["start"] == 2 and columns["caption"]["search"] == [1, 3]
    assert columns["price"]["start"] is None and columns["id"]["search"] is None, (
        "what gets no vector needs no dimensions"
    )


@pytest.fixture(scope="module", params=["cosine", "euclidean"])
def run(request, tmp_path_factory, one_thread):
    """A model with nested dimensions and the folder of its table."""
    folder = tmp_path_factory.mktemp(request.param)
    rng = np.random.default_rng(0)
    rows = []
    for n in range(200):
        genre = GENRES[n % 5]
        words = " ".join([genre[:3], *rng.choice(["slow", "fast", "sad", "low"], 3)]) + f" w{n % 20}"
        rows.append({"id": str(n), "split": "test" if n >= 150 else "train", "words": words, "genre": genre})
    written(folder, rows)
    torch.manual_seed(0)
    space = JointEmbedding(12, {"words": EmbeddingBag(BagOfWords()), "genre": EmbeddingBag(Category())}, 
                           [Match("words", "genre", "all")],
                           matryoshka_dims=[3, 12], metric=request.param, lr=0.05)  # fmt: skip
    trainer = Trainer(max_epochs=4, default_root_dir=folder / "run", enable_progress_bar=False,
                      enable_model_summary=False, log_every_n_steps=1)  # fmt: skip
    trainer.fit(space, TableData(str(folder), batch_size=25))
    return folder, space, rows[150:]


def test_prefixes_are_powers_of_two_and_what_was_trained():
    assert (
        prefixes(24, [12]) == [1, 2, 4, 8, 12, 16, 24] and prefixes(1, []) == [1] and prefixes(8, [8]) == [1, 2, 4, 8]
    )


def test_figures_of_prefixes_are_those_of_the_score_that_trained_them(run, ask):
    folder, space, rows = run
    report = ask("dims", folder, "--model", folder / "run", "--query", "words", "--target", "genre", "-k1", "--json")
    assert [entry["dim"] for entry in report["prefixes"]] == [1, 2, 3, 4, 8, 12]
    assert [entry["dim"] for entry in report["prefixes"] if entry["trained"]] == [3, 12] and report["nested"]
    words = list(dict.fromkeys(row["words"] for row in rows))
    truth = {row["words"]: row["genre"] for row in rows}
    model = Space.load(folder / "run")
    a, b = (torch.from_numpy(model.embed(column, cells)) for column, cells in (("words", words), ("genre", GENRES)))
    for entry in report["prefixes"][1:]:  # in one dimension every cosine is 1 or -1, and ties go by lot
        best = model.score(a, b, entry["dim"]).argmax(1)
        right = [GENRES[place] == truth[word] for place, word in zip(best, words, strict=True)]
        assert entry["metrics"]["recall@1"]["value"] == pytest.approx(np.mean(right), abs=0.021), entry["dim"]
        assert entry["metrics"]["recall@1"]["chance"] == pytest.approx(0.2)
    whole = ask("evaluate", folder / "run", folder, "--query", "words", "--target", "genre", "--k", "1", "--json")
    assert report["prefixes"][-1]["metrics"]["recall@1"] == whole["metrics"]["recall@1"]
    curve = [entry["metrics"]["recall@1"]["value"] for entry in report["prefixes"]]
    assert curve[-1] > 0.8 > curve[0], "fewer dimensions cost something"


def test_the_curve_is_printed_and_drawn(run, ask, tmp_path):
    folder, *_ = run
    words = ["dims", folder, "--model", folder / "run", "--query", "words", "--target", "words", "--relevant", "genre"]
    printed = ask(*words, "--plot", tmp_path / "curve.png")
    assert max(map(len, printed.splitlines()[1:])) <= 80
    assert "3*" in printed and "recall@10" in printed and "chance" in printed
    with Image.open(tmp_path / "curve.png") as image:
        assert image.format == "PNG" and min(image.size) > 400
        assert len(set(image.convert("L").tobytes())) > 20, "something is drawn"


def test_mistakes_are_reported_in_one_line(run, ask, tmp_path, monkeypatch):
    folder, *_ = run
    whole = ["dims", folder, "--model", folder / "run", "--query", "words", "--target", "genre"]
    for words, message in [
        ((*whole[:2], "--query", "words"), "give --model too"),
        ((*whole[:4],), "--query and --target are missing"),
        ((*whole, "--plot", "curve.svg"), "curve.png"),
        ((*whole, "--k", "0"), "at least 1"),
        ((*whole[:6], "--target", "gene"), "did you mean genre"),
        ((*whole, "--split", "tests"), "did you mean test"),
        (("dims", tmp_path / "no.csv"), "no.csv: "),
    ]:
        error = ask(*words, code=2)
        assert message in error and error.count("\n") == 1, error
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert 'pip install "jointembed[map]"' in ask(*whole, "--plot", tmp_path / "curve.png", code=2)


def test_a_model_without_nested_dimensions_is_warned_about(tmp_path, capsys, one_thread):
    rows = [{"id": str(n), "split": "train", "words": f"w{n % 9} {n % 2}", "genre": GENRES[n % 2]} for n in range(40)]
    written(tmp_path, rows)
    torch.manual_seed(0)
    space = JointEmbedding(
        4, {"words": EmbeddingBag(BagOfWords()), "genre": EmbeddingBag(Category())}, [Match("words", "genre", "all")]
    )
    trainer = Trainer(max_epochs=1, default_root_dir=tmp_path / "run", enable_progress_bar=False,
                      enable_model_summary=False, log_every_n_steps=1)  # fmt: skip
    trainer.fit(space, TableData(str(tmp_path), batch_size=20))
    words = ["dims", str(tmp_path), "--model", str(tmp_path / "run"), "--query", "words", "--target", "genre"]
    assert main([*words, "--split", "train"]) == 0
    assert "was trained without `matryoshka_dims`" in capsys.readouterr().err
