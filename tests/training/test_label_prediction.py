"""What models predict from vectors: labels, their probabilities, numbers."""

import numpy as np
import torch

from jointembed import BagOfWords, Category, EmbeddingBag, JointEmbedding, Match, Regression


def test_predictions_have_the_same_bits_alone_and_among_others():
    torch.manual_seed(0)
    encoders = {"text": EmbeddingBag(BagOfWords()), "genre": EmbeddingBag(Category())}
    objectives = [Match("text", "genre", candidates="all"), Regression("text", "tempo", head=[64])]
    model = JointEmbedding(96, encoders, objectives)
    rng = np.random.default_rng(0)
    words = [f"word{number}" for number in range(300)]
    texts = [" ".join(rng.choice(words, 12)) for _ in range(70)]
    model.space.reader("text").fit(texts)
    model.space.reader("genre").fit([f"genre {number}" for number in range(50)])
    objectives[1].readers()["tempo"].fit(rng.normal(120, 30, 70).tolist())
    model.build()
    model.eval()
    for predict in (model.predict_proba, model.predict):
        target = "genre" if predict == model.predict_proba else "tempo"
        together = predict("text", texts, target)
        assert len(together) == len(texts) and len(predict("text", [], target)) == 0
        for count in (1, 7, 33):
            np.testing.assert_array_equal(predict("text", texts[:count], target), together[:count])
