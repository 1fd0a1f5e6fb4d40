"""Adopted static word vectors are those of sentence-transformers' StaticEmbedding."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import TEXTS, words
from torch.nn import functional as F

from jointembed import Space
from jointembed.__main__ import main
from jointembed.errors import MismatchError, UnsafeError, UsageError
from jointembed.pretrained.huggingface.adopt import convert_model

SENTENCES = [*TEXTS, "reel", "a fiddle and a drum in the rain at night " * 90]


@pytest.fixture
def folder(tmp_path, one_thread):
    return static_folder(tmp_path / "static", "0_StaticEmbedding", "embedding.weight", ["Normalize"])


def static_folder(folder, place, key, modules, general=None):
    """A folder as sentence-transformers writes it; a table with three rows more than the tokenizer has subwords."""
    (folder / place).mkdir(parents=True)
    tokenizer = words(folder / place)
    table = torch.randn(len(tokenizer) + 3, 12, generator=torch.Generator().manual_seed(0))
    save_file({key: table}, folder / place / "model.safetensors")
    listed = [("StaticEmbedding", place), *((name, f"{number}_{name}") for number, name in enumerate(modules, 1))]
    (folder / "modules.json").write_text(
        json.dumps([{"type": f"sentence_transformers.models.{name}", "path": path} for name, path in listed])
    )
    (folder / "config_sentence_transformers.json").write_text(json.dumps(general or {}))
    return folder


def means(folder, place, texts):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / place / "tokenizer.json"))
    (table,) = load_file(folder / place / "model.safetensors").values()
    return torch.stack([table[tokenizer.encode(text, add_special_tokens=False).ids].mean(0) for text in texts])


@pytest.mark.parametrize(
    ("place", "key", "modules", "metric"),
    [
        ("0_StaticEmbedding", "embedding.weight", ["Normalize"], "cosine"),
        (".", "embeddings", ["Normalize"], "cosine"),
        ("", "embedding.weight", [], "dot"),
    ],
)
def test_vectors_are_means_of_the_vectors_of_subwords(tmp_path, place, key, modules, metric):
    folder = static_folder(tmp_path / "static", place, key, modules, {"similarity_fn_name": "dot"})
    space = convert_model(folder, "static")
    assert (space.dim, space.metric) == (12, metric) and "(StaticEmbedding)" in space.description
    expected = means(folder, place, SENTENCES)
    expected = F.normalize(expected, dim=-1) if metric == "cosine" else expected
    z = space.embed("text", SENTENCES)
    assert np.abs(z - expected.numpy()).max() <= 1e-5
    assert np.array_equal(np.concatenate([space.embed("text", [text]) for text in SENTENCES]), z)
    space.save(tmp_path / "m.ckpt")
    assert np.array_equal(Space.load(tmp_path / "m.ckpt").embed("text", SENTENCES), z)


def test_words_of_queries_have_their_own_prompt(tmp_path):
    general = {"prompts": {"query": "query: ", "document": ""}}
    folder = static_folder(tmp_path / "static", "", "embedding.weight", [], general)
    space = convert_model(folder, "static")
    expected = F.normalize(means(folder, "", ["query: " + text for text in TEXTS]), dim=-1)
    assert np.abs(space.embed("query", TEXTS) - expected.numpy()).max() <= 1e-5


def test_titles_are_searched_by_static_word_vectors(folder, tmp_path, capsys):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"id": text, "text": text}) + "\n" for text in TEXTS))
    model, index = str(tmp_path / "m.ckpt"), str(tmp_path / "i.index")
    assert main(["adopt", str(folder), model]) == main(["index", model, str(tmp_path / "rows.jsonl"), index]) == 0
    capsys.readouterr()
    assert main(["search", index, TEXTS[0], "--mode", "vector", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["id"] == TEXTS[0]


def test_an_unsupported_or_damaged_folder_is_refused(folder, tmp_path):
    place = folder / "0_StaticEmbedding"
    modules = (folder / "modules.json").read_text()
    (folder / "modules.json").write_text(modules.replace("models.Normalize", "models.LSTM"))
    with pytest.raises(UsageError, match="the modules StaticEmbedding, LSTM are not supported"):
        convert_model(folder, "static")
    (folder / "modules.json").write_text(modules.replace("0_StaticEmbedding", ".."))
    with pytest.raises(UnsafeError, match="outside of the model"):
        convert_model(folder, "static")
    (folder / "modules.json").write_text(modules)
    save_file({"table": torch.zeros(3, 2)}, place / "model.safetensors")
    with pytest.raises(MismatchError, match="expected one table of word vectors"):
        convert_model(folder, "static")
    save_file({"embeddings": torch.zeros(3, 2)}, place / "model.safetensors")
    with pytest.raises(MismatchError, match="subwords, but the model has 3"):
        convert_model(folder, "static")
    (place / "model.safetensors").unlink()
    (place / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(UnsafeError, match="pickled"):
        convert_model(folder, "static")
