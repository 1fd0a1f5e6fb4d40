"""Readers and encoders of another package: index, search, serve and evaluate treat them like the built-in ones."""

import json
import sys

import lightning
import numpy as np
import pytest
import soundfile

from jointembed import BagOfWords, Category, EmbeddingBag, Index, JointEmbedding, Match, Space, TableData
from jointembed.__main__ import main
from jointembed.errors import CodeError
from jointembed.indexing.query_encoder import QueryEncoders

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")

PACKAGE = '''
import numpy as np
from torch import nn

from jointembed import Encoder, Reader, audio


class LetterCounts(Reader):
    """Text as the counts of its letters."""

    reads_text = True
    shape = (26,)

    def __init__(self):
        self.words = []

    def fit(self, cells):
        self.restore({"words": sorted({word for cell in cells for word in cell.split()})})

    def state(self):
        return {"words": self.words}

    def restore(self, state):
        self.words = state["words"]

    def vocabulary(self):
        return self.words

    def unknown(self, cell):
        return [] if set(cell.split()) & set(self.words) else [cell]

    def preprocess(self, cell):
        return np.bincount([ord(letter) - 97 for letter in cell if letter.isalpha()], minlength=26).astype(np.float32)


class Loudness(Reader):
    """Sound as the loudness of tenths of a second."""

    reads_files = windowed = True
    shape = (1,)
    sample_rate = 8000

    def preprocess(self, cell):
        return audio.load(cell, self.sample_rate)

    def pieces(self, array):
        return [np.abs(block).mean(keepdims=True) for block in array[: len(array) // 800 * 800].reshape(-1, 800)]


class Linear(Encoder):
    def __init__(self, reader, width=16):
        super().__init__(reader, width)

    def build(self, dim):
        self.layer = nn.Linear(*self.reader.shape, self.width)

    def pieces(self, x):
        return self.layer(x.values)
'''
WORDS = {"waltz": "slow turning strings", "reel": "fast wild fiddle", "blues": "sad lonely guitar"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A table, a folder of sounds, and a model whose reader and encoder come from the package `letters`."""
    folder = tmp_path_factory.mktemp("third_party")
    (folder / "letters.py").write_text(PACKAGE)
    genres = [list(WORDS)[number % 3] for number in range(30)]
    rows = [
        {"id": f"s{number}", "split": "train" if number < 24 else "test", "words": f"{WORDS[genre]}", "genre": genre}
        for number, genre in enumerate(genres)
    ]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "sounds").mkdir()
    noise = np.random.default_rng(0).uniform(-1, 1, 8000)
    for number, row in enumerate(rows[:4]):
        row["audio"] = str(folder / "sounds" / f"{number}.wav")
        soundfile.write(row["audio"], 0.2 * (number + 1) * noise, 8000)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        import letters

        lightning.seed_everything(0)
        model = JointEmbedding(
            8,
            {
                "words": letters.Linear(letters.LetterCounts()),
                "genre": EmbeddingBag(Category()),
                "audio": letters.Linear(letters.Loudness()),
            },
            [Match("words", "genre", "all"), Match("audio", "genre", "all")],
            lr=0.05,
        )
        trainer = lightning.Trainer(
            max_epochs=20,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            accelerator="cpu",
        )
        trainer.fit(model, TableData(rows, batch_size=8))
        model.save(folder / "model.ckpt")
    sys.modules.pop("letters")
    return folder


@pytest.fixture
def run(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("COLUMNS", "160")

    def run(*words, code=0):
        result = main([*words, "--trust", "letters"])
        output = capsys.readouterr()
        assert result == code, output.err
        return output

    return run


@pytest.fixture
def index(run):
    run("index", "model.ckpt", ".", "songs.index", "--column", "words")
    return "songs.index"


def test_words_search_an_index_of_a_third_party_text_reader(run, index):
    for genre, words in WORDS.items():
        hits = json.loads(run("search", index, words, "-k", "3", "--json").out)
        assert {hit["row"]["genre"] for hit in hits} == {genre}
    assert "the model knows none of these words" in run("search", index, "xylophone").err


def test_index_explains_itself_in_the_words_of_a_third_party_text_reader(run, index):
    with Index.open(index) as songs:
        assert {"waltz", "strings", "fiddle", "guitar"} <= set(songs.vocabulary()[0])


def test_server_embeds_words_with_a_third_party_text_reader(folder, run, index):
    embedders = QueryEncoders(trust=["letters"])
    with Index.open(index) as songs:
        embedder = embedders.load(songs.path, "words")
        assert embedder.words
        [hit] = songs.search(embedder.text("fast wild fiddle"), 1)
    assert hit.row["genre"] == "reel"
    embedders.close()


def test_evaluate_reports_metrics_of_a_third_party_encoder(run):
    out = run("evaluate", "model.ckpt", ".", "--query", "words", "--target", "genre", "--split", "test", "--json").out
    assert json.loads(out)["metrics"]["recall@1"]["value"] == 1


def test_folder_of_sounds_is_indexed_with_a_third_party_audio_reader(run):
    run("index", "model.ckpt", "sounds", "sounds.index")
    with Index.open("sounds.index") as sounds:
        assert len(sounds) == 4
    assert json.loads(run("search", "sounds.index", "sounds/2.wav", "-k", "1", "--json").out)[0]["id"] == "2.wav"


class WrongCategory(Category):
    """A reader that encodes cells as an array of its own."""

    def encode(self, cells, rng=None, preprocess=None):
        return np.zeros((len(cells), 3))


class WrongText(BagOfWords):
    """A reader that does so only once it is trained."""

    def encode(self, cells, rng=None, preprocess=None):
        return super().encode(cells, rng, preprocess) if len(cells) > 1 else None


def test_what_encode_returns_is_named_if_it_is_no_ragged():
    rows = [{"id": str(at), "split": "train", "words": "a b", "genre": "x"} for at in range(4)]
    options = {"max_epochs": 1, "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(accelerator="cpu", enable_model_summary=False, **options)
    encoders = {"words": EmbeddingBag(WrongText()), "genre": EmbeddingBag(WrongCategory())}
    with pytest.raises(
        CodeError, match=r"WrongCategory.encode: it returned numpy.ndarray, and not a jointembed.Ragged"
    ):
        trainer.fit(JointEmbedding(4, encoders, [Match("words", "genre", "all")]), TableData(rows, batch_size=4))
    reader = WrongText()
    reader.fit(["a b", "c"])
    space = Space(4, {"words": EmbeddingBag(reader)})
    space.build()
    with pytest.raises(CodeError, match="WrongText.encode: it returned builtins.NoneType"):
        space.embed("words", ["a"])
