"""Queries of every kind become vectors in one way."""

import json

import numpy as np
import pytest
import torch

from jointembed import BagOfWords, Category, EmbeddingBag, Index, Subwords, TextTransformer
from jointembed.__main__ import main
from jointembed.errors import MismatchError, UsageError
from jointembed.indexing.index_encoder import IndexEncoder
from jointembed.indexing.query_encoder import QueryEncoder, QueryEncoders, find_item_or_encode
from jointembed.space.space import Space


def save(path, seed=0):
    torch.manual_seed(seed)
    words, genre = BagOfWords(), Category()
    words.fit(["slow waltz", "fast reel"])
    genre.fit(["waltz", "reel"])
    encoders = {"genre": EmbeddingBag(genre), "words": EmbeddingBag(words)}
    space = Space(4, encoders, fusions={"item": ["words", "genre"]})
    space.build()
    space.save(path)
    return space


@pytest.fixture
def home(tmp_path):
    """The space of a model, and an index with a field of its column `words`."""
    space = save(tmp_path / "a.ckpt")
    with IndexEncoder(tmp_path / "a.ckpt").create(tmp_path / "songs.index") as index:
        index.add([{"id": "a"}], space.embed("words", ["slow waltz"]), "words")
    return space, tmp_path / "songs.index"


def test_the_column_of_a_query_is_guessed_from_its_kind(home):
    space, path = home
    with Index.open(path) as index:
        encoder = QueryEncoder.open(index)
    for query, column, cell in (
        ("fast reel", "words", "fast reel"),
        ('{"words": "slow", "genre": "reel"}', "item", {"words": "slow", "genre": "reel"}),
    ):
        assert encoder.guess_column(query) == column
        assert encoder.encode(query).tobytes() == space.embed(column, [cell])[0].tobytes()
    assert np.array_equal(encoder.encode("reel", "genre"), space.embed("genre", ["reel"])[0])


@pytest.mark.parametrize("sign", ["slow waltz ", "slow\u4e2d"])
@pytest.mark.parametrize("count", [1, 50, 86, 2000])
def test_a_text_longer_than_the_name_of_any_file_is_a_text(home, sign, count):
    with Index.open(home[1]) as index:
        encoder = QueryEncoder.open(index)
        assert encoder.guess_column(sign * count) == "words"
        with pytest.raises(UsageError, match="no such id, path or title, and no such file"):
            find_item_or_encode(index, sign * count, None, None)
    with pytest.raises(UsageError, match="does not exist"):
        encoder.guess_column(sign * count + ".flac")


def test_half_an_emoji_stops_neither_training_nor_index_nor_query(tmp_path):
    texts, labels = ["slow \ud83d", "fast \ude00", "\ud83d"], ["waltz", "reel \ud83d", "reel \ude00"]
    words, genre = Subwords(300), Category()
    words.fit(texts)
    genre.fit(labels)
    space = Space(4, {"words": TextTransformer(words, 8, 1, 2), "genre": EmbeddingBag(genre)})
    space.build()
    space.save(tmp_path / "a.ckpt")
    rows = [{"id": str(at), "words": text, "genre": labels[at]} for at, text in enumerate(texts)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert main(["index", *(str(tmp_path / name) for name in ("a.ckpt", "rows.jsonl", "a.index"))]) == 0
    with Index.open(tmp_path / "a.index") as index:
        encoder = QueryEncoder.open(index)
        assert [index.row(str(at))["words"] for at in range(3)] == texts
        assert {"waltz", "reel \\ud83d", "reel \\ude00"} <= set(index.vocabulary()[0])
        for query in ("slow \ud83d", "\udcff", "slow.\ud83d"):
            assert encoder.encode(query).tobytes() == encoder.encode(query[:-1] + "\ufffd").tobytes()
        for name in ("\ud83d", "slow.\ud83d", "\udcff.flac"):
            with pytest.raises(UsageError):
                find_item_or_encode(index, name, None, None)


def test_words_of_most_rows_explain_no_item(tmp_path):
    texts = [f"the {mood} melody of all" for mood in ("slow", "fast", "sad", "slow", "wild")]
    words = BagOfWords()
    words.fit(texts)
    space = Space(4, {"words": EmbeddingBag(words)})
    space.build()
    space.save(tmp_path / "a.ckpt")
    rows = [json.dumps({"id": str(at), "words": text}) for at, text in enumerate(texts)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    assert main(["index", *(str(tmp_path / name) for name in ("a.ckpt", "rows.jsonl", "a.index"))]) == 0
    with Index.open(tmp_path / "a.index") as index:
        assert set(index.vocabulary()[0]) == {"slow", "fast", "sad", "wild"}


def test_unknown_queries_are_refused_with_the_nearest_known_one(home):
    with Index.open(home[1]) as index:
        encoder = QueryEncoder.open(index)
    for query, column, problem in (
        ("polka", None, "knows none of these words"),
        ("walz", "genre", "did you mean waltz"),
        (" ", None, "it is empty"),
        ("gone.flac", None, "does not exist"),
        ("slow", "item", "it is fused from words, genre"),
        ('{"words": "polka"}', "item", "knows none of these words"),
        ('{"words": "polka", "genre": "walz"}', "item", "knows none of these words"),
    ):
        with pytest.raises(UsageError, match=problem):
            encoder.encode(query, column)
    assert encoder.encode("slow polka").shape == (4,), "one known word is enough"
    assert encoder.encode('{"words": "polka", "genre": "waltz"}').shape == (4,), "one known part is enough"


def test_server_and_commands_share_the_encoder_and_its_vectors(home):
    with Index.open(home[1]) as index:
        vector = QueryEncoder.open(index).encode("slow waltz")
    encoders = QueryEncoders()
    encoder = encoders.load(home[1], "words")
    assert encoder.words and not encoder.sounds
    assert encoder.text("slow waltz").tobytes() == vector.tobytes()
    encoders.close()


def test_a_changed_or_missing_model_is_refused(home, tmp_path):
    save(tmp_path / "a.ckpt", seed=1)
    with Index.open(home[1]) as index, pytest.raises(MismatchError, match="another model made the vectors"):
        QueryEncoder.open(index)
    (tmp_path / "a.ckpt").unlink()
    with Index.open(home[1]) as index, pytest.raises(UsageError, match="the model of this field is missing"):
        QueryEncoder.open(index)
