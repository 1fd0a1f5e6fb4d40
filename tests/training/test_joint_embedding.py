"""The gradient cache: less memory, the same gradients."""

import pytest
import torch
from distributed_cases import CASES, Losses, largest_gap, make_case, train

from jointembed import (
    Category,
    CausalTransformer,
    EmbeddingBag,
    JointEmbedding,
    Match,
    NextItem,
    Subwords,
    TextTransformer,
)

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


@pytest.mark.parametrize("name", CASES)
def test_chunks_keep_the_gradients_of_every_objective(name):
    results = []
    for chunk in (0, 3):
        model, batch = make_case(name)
        model.grad_cache_chunk = chunk
        results.append(train(Losses(model), batch, 0))
    plain, chunks = results
    assert max(largest_gap(a, b) for a, b in zip(chunks, plain, strict=True)) <= 1e-10


def wide_case(name, rows):
    """A case of 8 rows, repeated."""
    model, batch = make_case(name)
    return model, {column: x[torch.arange(rows) % 8] for column, x in batch.items()}


@pytest.mark.parametrize("name", ["softmax, whole", "sigmoid", "all, many", "next, sampled", "text"])
def test_with_chunks_neither_the_scores_nor_their_softmax_are_kept(name):
    rows, largest = 256, []
    for chunk in (0, 8):
        model, batch = wide_case(name, rows)
        model.grad_cache_chunk = chunk
        sizes = []
        pack = lambda x, sizes=sizes: sizes.append(x.numel()) or x  # noqa: E731
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            loss = torch.stack(list(model.losses(batch).values())).sum()
        loss.backward()
        largest.append(max(sizes))
    counts = max(len(x.rows) for x in batch.values())
    assert largest[1] <= counts * 6 < largest[0], "the vectors of the pieces are kept, and nothing larger"


def test_what_is_computed_again_has_the_same_dropout():
    """The gradient is the one of the loss that was computed, whose masks are those of the seed."""
    torch.manual_seed(0)
    encoders = {
        "words": TextTransformer(Subwords(300, 32), 16, 1, 2, dropout=0.5),
        "genre": EmbeddingBag(Category()),
    }
    pools = {"genre": CausalTransformer(8, 1, 2, dropout=0.5)}
    objectives = [Match("words", "genre"), NextItem("genre", 4)]
    model = JointEmbedding(8, encoders, objectives, pools=pools, grad_cache_chunk=3)
    cells = {"words": [*WORDS, "rain", None, "waltz"], "genre": SEQUENCES}
    batch = {}
    for column in cells:
        reader = model.space.reader(column)
        reader.fit([cell for cell in cells[column] if cell])
        batch[column] = reader.encode(cells[column])
    model.configure_model()
    model.double().train()
    weights = [weight for weight in model.parameters() if weight.dim() > 1]
    directions = [torch.randn_like(weight) for weight in weights]

    def compute_loss(shift=0.0):
        with torch.no_grad():
            for weight, direction in zip(weights, directions, strict=True):
                weight.add_(direction, alpha=shift)
        torch.manual_seed(3)
        return torch.stack(list(model.losses(batch).values())).sum()

    compute_loss().backward()
    slope = sum((weight.grad * direction).sum() for weight, direction in zip(weights, directions, strict=True))
    step = 1e-6
    with torch.no_grad():
        above, below = compute_loss(step), compute_loss(-2 * step)
    assert float(above - below) / (2 * step) == pytest.approx(float(slope), rel=1e-5)


def test_chunks_work_in_lower_precision():
    gradients = []
    for chunk in (0, 3):
        model, batch = make_case("text")
        model.float().grad_cache_chunk = chunk
        for x in batch.values():
            x.values = x.values.float() if x.values.is_floating_point() else x.values
        with torch.autocast("cpu", torch.bfloat16):
            loss = torch.stack(list(model.losses(batch).values())).sum()
        loss.backward()
        gradients.append(torch.cat([parameter.grad.ravel() for parameter in model.parameters()]))
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.999
