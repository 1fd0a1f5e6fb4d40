"""The gradient cache: less memory, the same gradients."""

import pytest
import torch

from jointembed import Category, CausalTransformer, EmbeddingBag, JointEmbedding, Match, Subwords, TextTransformer

WORDS = ["a slow waltz", "fast reel in the rain, played by two fiddles and a drum", "jazz", "blues at night"]
SEQUENCES = [["a", "b", "c"], ["c"], None, ["b", "a"], ["a", "a", "b", "c", "c"], ["c", "b"], ["a"]]


@pytest.mark.parametrize("kind", ["rows", "several captions", "sequence", "fusion"])
def test_chunks_bound_what_is_computed_at_once_and_keep_the_gradients(kind):
    texts = [*WORDS, "rain", None, "waltz in the night"]
    cells = {"words": texts, "genre": texts}
    if kind == "several captions":
        cells["words"] = [["a slow waltz", "jazz"], "reel", None, ["blues", "jazz", "a drum"], "rain", "reel", ["jazz"]]
    if kind == "sequence":
        cells["words"] = SEQUENCES
    query = "both" if kind == "fusion" else "genre"
    gradients, rows, peaks = [], 3, []
    for chunk in (0, rows):
        torch.manual_seed(0)
        model = JointEmbedding(
            8,
            {
                "words": TextTransformer(Subwords(300, 32), 16, 1, 2, dropout=0.0),
                "genre": EmbeddingBag(Category()),
            },
            [Match(query, "words")],
            pools={"words": CausalTransformer(8, 1, 2, dropout=0.0)} if kind == "sequence" else {},
            fusions={"both": ["genre", "words"]} if kind == "fusion" else {},
            grad_cache_chunk=chunk,
            bf16=False,
        )
        for column in ("words", "genre"):
            model.space.reader(column).fit(WORDS)
        model.configure_model()
        model.double()
        batch = {column: model.space.reader(column).encode(cells[column]) for column in ("words", "genre")}
        inputs = []
        model.space.encoders["words"].blocks[0].register_forward_pre_hook(
            lambda _, args, inputs=inputs: inputs.append(args[0])
        )
        loss = torch.stack(list(model.losses(batch).values())).sum()
        assert loss > 0
        loss.backward()
        peaks.append(max(len(h) for h in inputs))
        gradients.append(torch.cat([value.grad.ravel() for value in model.parameters() if value.grad is not None]))
    assert torch.allclose(gradients[0], gradients[1], atol=1e-12)
    counts = [0 if cell is None else len(cell) if isinstance(cell, list) else 1 for cell in cells["words"]]
    most = max(sum(counts[start : start + rows]) for start in range(0, len(counts), rows))
    assert peaks == [sum(counts), most]
