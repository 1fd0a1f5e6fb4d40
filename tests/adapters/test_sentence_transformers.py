"""A trained model as a SentenceTransformer: run by hand with the library installed."""

import numpy as np
import pytest
import torch

from jointembed import BagOfWords, ConvNet, EmbeddingBag, LogMel, Space

pytestmark = pytest.mark.slow
sentence_transformers = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
TEXTS = ["slow sad strings", "wild fiddle", "a fiddle, sad and slow"]


@pytest.fixture
def run(tmp_path):
    torch.manual_seed(0)
    encoder = ConvNet(LogMel(8000, 0.5, 16, 256, 128), channels=[4], width=8)
    space = Space(6, {"audio": encoder, "words": EmbeddingBag(BagOfWords())})
    space.reader("words").fit(TEXTS)
    space.build()
    space.save(tmp_path / "best.ckpt")
    return tmp_path


def test_it_embeds_texts_and_sounds_as_the_space_does(run):
    from jointembed.adapters.sentence_transformers import SpaceModule

    model, space = sentence_transformers.SentenceTransformer(modules=[SpaceModule(run)]), Space.load(run)
    np.testing.assert_array_equal(model.encode(TEXTS), space.embed("words", TEXTS))
    np.testing.assert_array_equal(model.encode(["fiddle"], prompt="slow "), space.embed("words", ["slow fiddle"]))
    sound = {"array": np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32), "sampling_rate": 8000}
    np.testing.assert_array_equal(model.encode([{"audio": sound}]), space.embed("audio", [sound]))
    assert model.get_embedding_dimension() == 6
    hits = sentence_transformers.util.semantic_search(model.encode(["wild fiddle"]), model.encode(TEXTS))
    assert hits[0][0]["corpus_id"] == 1


def test_a_saved_model_is_loaded_with_the_same_bits(run, tmp_path):
    from jointembed.adapters.sentence_transformers import SpaceModule

    model = sentence_transformers.SentenceTransformer(modules=[SpaceModule(run)])
    model.save(str(tmp_path / "saved"))
    (run / "best.ckpt").unlink()
    loaded = sentence_transformers.SentenceTransformer(str(tmp_path / "saved"), trust_remote_code=True)
    np.testing.assert_array_equal(loaded.encode(TEXTS), model.encode(TEXTS))
    assert loaded[0].columns == {"text": "words", "audio": "audio"}
    assert not [path for path in (tmp_path / "saved").rglob("*") if path.suffix in (".bin", ".pkl", ".pt", ".py")]
