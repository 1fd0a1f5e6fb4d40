"""Words as mixtures of the points of tags, with a tiny model of sentences."""

import numpy as np
import pytest
import torch
import transformers
from tiny_models import shaken, words

from jointembed import Space
from jointembed.pretrained.huggingface.adopt import convert_model
from jointembed.pretrained.musicnn.encoder import WIDTH
from jointembed.pretrained.musicnn.words import TagMixtureEncoder

TAGS = ["jazz", "sad", "blues", "reel"]


@pytest.fixture(scope="module")
def make_space(tmp_path_factory):
    """Texts in a space whose points of tags are unit vectors, so that a vector has the weights of the tags."""
    folder = tmp_path_factory.mktemp("sentences")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=300, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=40, pad_token_id=1,
    )  # fmt: skip
    shaken(transformers.BertModel(config)).save_pretrained(folder)
    words(folder)

    def make(**settings):
        text = convert_model(folder, "tiny").encoder("text")
        weights = text.state_dict()
        names = [[tag] if tag != "blues" else [tag, "slow waltz"] for tag in TAGS]
        encoder = TagMixtureEncoder(text, names, **settings)
        space = Space(WIDTH, {"text": encoder})
        space.build()
        space.eval()
        text.load_state_dict(weights)
        encoder.fit_names(torch.eye(len(TAGS), WIDTH))
        return space

    return make


def weigh(space, *texts):
    return space.embed("text", list(texts), normalize=False)[:, : len(TAGS)]


def test_a_text_weighs_tags_by_their_nearest_names(make_space):
    weights = weigh(make_space(literal_bonus=0.0), "slow waltz", *TAGS)
    assert weights.sum(1) == pytest.approx(1) and weights.argmax(1).tolist() == [2, 0, 1, 2, 3]


def test_a_tag_that_a_text_names_weighs_more(make_space):
    texts = ["sad music of a slow waltz", "sa", "jazz and reel"]
    (named, part, _), (own, own_part, _) = (weigh(make_space(literal_bonus=bonus), *texts) for bonus in (0.1, 0.0))
    assert named[1] / named[0] == pytest.approx(own[1] / own[0] * np.exp(3), rel=1e-3)
    assert (part == own_part).all(), "a part of a name is not the name"


def test_a_batch_changes_nothing_about_a_text(make_space):
    space = make_space()
    texts = ["sad jazz", "reel", "a fiddle and a drum in the rain at night"]
    together = space.embed("text", texts)
    assert (together == [space.embed("text", [text])[0] for text in texts]).all()
