"""Models and batches, on which two processes must do what one does with all of the rows."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import distributed as dist
from torch import nn

from jointembed import (
    GBCE,
    GRU,
    MLP,
    BagOfWords,
    Buckets,
    Category,
    CausalTransformer,
    ConvNet,
    Distillation,
    EmbeddingBag,
    JointEmbedding,
    Match,
    NextItem,
    NextSet,
    Numbers,
    PianoRoll,
    Ragged,
    Regression,
    Sampled,
    SparseImage,
    Subwords,
    TextTransformer,
)
from jointembed.objectives import CrossBatchMemory, DistinctInBatch, InBatch, Loss, distributed
from jointembed.objectives.in_batch import KeyFrequencies
from jointembed.space.encoded import Mix

# Eight rows. Two share their artist, two their song, two a caption.
CELLS = {
    "song": ["a", "b", "c", None, "e", "f", "b", "h"],
    "words": [["slow waltz", "sad"], "fast reel", None, "alone", ["sad", "night", "rain"], "slow waltz",
              ["reel", "rain"], "drums"],
    "genre": [["waltz", "slow"], "reel", "jig", "reel", None, "waltz", ["reel", "fast"], "jig"],
    "label": ["x", "y", None, "x", "z", "x", "y", "w"],
    "artist": ["x", "y", "z", "w", "v", "x", "u", "t"],
    "price": [1.0, 5.0, 2.0, 4.0, None, 9.0, 3.0, 7.0],
    "facts": [{"p": 1.0, "q": 2.0}, {"p": 3.0}, None, {"q": 1.0}, {"p": 5.0, "q": 0.0}, {"p": 1.0}, {"p": 2.0},
              {"q": 9.0}],
    "history": [["a", "b", "c"], ["c"], None, ["b", "a"], ["a", "a", "b", "c", "c"], ["c", "b"], ["a"],
                ["b", "c", "a"]],
    "roll": [[[60], [61, 63], []], [[62]], None, [[60, 62], [63]], [[61], [], [62, 63]], [[63]], [[60]], [[61], [62]]],
    "image": [np.arange(n, n + 16).reshape(4, 4) % 5 if n != 2 else None for n in range(8)],
}  # fmt: skip
KINDS = {
    "words": lambda: EmbeddingBag(BagOfWords()),
    "text": lambda: TextTransformer(Subwords(300, 32), 16, 1, 2, dropout=0.0),
    "facts": lambda: MLP(Numbers(["p", "q"]), 6),
    "roll": lambda: EmbeddingBag(PianoRoll(60, 63)),
    "image": lambda: ConvNet(SparseImage([4, 4]), [4], 8, axis=None),
}
CELLS["text"] = CELLS["words"]


class Triplet(Loss):
    """A loss of a user's own, which has `forward` only."""

    def forward(self, scores, positives, candidates=None):
        right = (scores * positives).sum(1) / positives.sum(1).clamp(min=1)
        wrong = scores.masked_fill(positives > 0, -1)
        wrong = wrong if candidates is None else wrong.masked_fill(~candidates, -1)
        return (0.2 + wrong.amax(1) - right).clamp(min=0)


class Mixed(JointEmbedding):
    """The rows of a column are mixed, each with the next one of its process; by chance they could not be compared."""

    column = ""
    parts: tuple[int, ...] = ()  # how many rows each process has, of those that this one has

    def forward(self, batch):
        encoded = super().forward(batch)
        ends = np.cumsum(self.parts)
        partner = [(torch.arange(size) + 1) % size + end - size for size, end in zip(self.parts, ends, strict=True)]
        column = encoded[self.column]
        partner = torch.cat(partner).to(column.z.device)
        share = 0.5 + column.row_keys.remainder(8).double() / 16
        share[~(column.present & column.present[partner])] = 1
        column.mix = Mix(partner, share)
        return encoded


@dataclass
class Case:
    """Objectives, and the settings of their model.

    Args:
        objectives: makes them.
        gap: a column that the second process has no cell of.
        split: rows of the first process.
        mixed: the column whose rows are mixed.
        sparse: tables have sparse gradients.
        settings: of the model.
    """

    objectives: Any
    gap: str = ""
    split: int = 5
    mixed: str = ""
    sparse: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


def single(make, gap="", split=5, mixed="", sparse=False, **settings):
    """The case of a single objective."""
    return Case(lambda: [make()], gap, split, mixed, sparse, settings)


def transformer():
    return {"history": CausalTransformer(8, 1, 2, dropout=0.0)}


CASES = {
    "softmax": single(lambda: Match("song", "words"), "words"),
    "softmax, no query": single(lambda: Match("song", "words"), "song"),
    "softmax, several ask": single(lambda: Match("words", "song"), "words"),
    "softmax, whole": single(lambda: Match("song", "words")),
    "softmax, same": single(lambda: Match("song", "words", positives_by="artist"), "words"),
    "softmax, dot": single(lambda: Match("song", "words"), metric="dot"),
    "softmax, euclidean": single(lambda: Match("song", "words"), metric="euclidean"),
    "softmax, nested": single(lambda: Match("song", "words"), matryoshka_dims=[2, 6]),
    "softmax, mixed query": single(lambda: Match("song", "words"), mixed="song"),
    "softmax, mixed target": single(lambda: Match("words", "song"), mixed="song"),
    "softmax, no row": single(lambda: Match("song", "words"), split=8),
    "softmax, chunks": single(lambda: Match("song", "text"), grad_cache_chunk=2),
    "sigmoid": single(lambda: Match("song", "words", loss="sigmoid"), "words"),
    "sigmoid, same": single(lambda: Match("song", "words", loss="sigmoid", positives_by="artist"), "song"),
    "triplet": single(lambda: Match("song", "words", loss=Triplet())),
    "softmax, frequencies": single(lambda: Match("song", "words", InBatch(log_q=True)), "words"),
    "memory": single(lambda: Match("song", "words", CrossBatchMemory(9, warmup=1)), "words"),
    "memory, same": single(lambda: Match("song", "label", CrossBatchMemory(5, 0), positives_by="artist"), "song"),
    "memory, nested": single(lambda: Match("song", "label", CrossBatchMemory(5, 0, True)), matryoshka_dims=[2, 6]),
    "memory, chunks": single(lambda: Match("song", "text", CrossBatchMemory(30, 0)), grad_cache_chunk=2),
    "distinct": single(lambda: Match("words", "genre", DistinctInBatch(), "sigmoid")),
    "distinct, late": single(lambda: Match("words", "genre", DistinctInBatch(True), "sigmoid"), "words"),
    "all": single(lambda: Match("song", "genre", "all"), "genre"),
    "all, no query": single(lambda: Match("song", "genre", "all"), "song"),
    "all, single": single(lambda: Match("song", "label", "all")),
    "all, some single": single(lambda: Match("song", "genre", "all"), split=7),
    "all, sigmoid": single(lambda: Match("song", "genre", "all", loss="sigmoid"), "genre"),
    "all, many": single(lambda: Match("song", "artist", "all", loss="sigmoid")),
    "all, mixed": single(lambda: Match("song", "label", "all"), mixed="song"),
    "all, sparse": single(lambda: Match("song", "genre", "all"), "song", sparse=True),
    "hidden": single(lambda: Match("song", "genre", "all", head=[5]), "genre"),
    "sampled": single(lambda: Match("song", "genre", 6), "genre"),
    "sampled, nested": single(lambda: Match("song", "genre", 6), matryoshka_dims=[2, 6]),
    "sampled, no row": single(lambda: Match("song", "genre", 6), split=8),
    "sampled, sparse": single(lambda: Match("song", "genre", 6), "genre", sparse=True),
    "sampled, sigmoid": single(lambda: Match("song", "genre", 6, loss="sigmoid"), "genre"),
    "sampled, calibrated": single(lambda: Match("song", "genre", Sampled(6, power=0), GBCE()), "genre"),
    "buckets": single(lambda: Match("song", "genre", Buckets(40, alpha=0.01)), "genre"),
    "regress": single(lambda: Regression("song", "price", [4]), "price"),
    "regress, mixed": single(lambda: Regression("song", "price", [4]), mixed="song"),
    "distillation": single(lambda: Distillation("song", "teacher")),
    "distillation, mse": single(lambda: Distillation("song", "teacher", loss="mse"), "song"),
    "fused": single(lambda: Match("item", "words"), "song", fusions={"item": ["song", "facts"]}),
    "next": single(lambda: NextItem("history", "all"), pools=transformer()),
    "next, sampled": single(lambda: NextItem("history", 6), "history", pools=transformer()),
    "next, sigmoid": single(lambda: NextItem("history", 6, "sigmoid"), pools={"history": GRU(8, dropout=0.0)}),
    "next, sparse": single(lambda: NextItem("history", 6), "history", sparse=True, pools=transformer()),
    "next, chunks": single(lambda: NextItem("history", 6), pools=transformer(), grad_cache_chunk=2),
    "next set": single(lambda: NextSet("roll", 6, 2, dropout=0.0), pools={"roll": GRU(8, dropout=0.0)}),
    "next set, none": single(lambda: NextSet("roll", 6, 2, dropout=0.0), "roll", pools={"roll": GRU(8, dropout=0.0)}),
    "history": single(lambda: Match("history", "song"), "history", pools=transformer()),
    "text": single(lambda: Match("song", "text"), "text"),
    "images": single(lambda: Match("image", "label", "all"), "image"),
    "many": Case(
        lambda: [Match("song", "words"), Match("words", "genre", 6), NextItem("history", 6),
                 Regression("item", "price", [4], weight=0.3)],
        "words",
        settings={"pools": transformer(), "fusions": {"item": ["song", "facts"]}},
    ),
}  # fmt: skip


def make_case(name, rank=None):
    """The model of a case and its batch: that of a process, or the whole one."""
    case = CASES[name]
    sizes = case.split, 8 - case.split
    parts = sizes if rank is None else sizes[rank : rank + 1]
    objectives = case.objectives()
    predicted = {column for objective in objectives for column in objective.readers()}
    fusions = case.settings.get("fusions", {})
    points = {column for objective in objectives for column in objective.columns()} - set(fusions)
    points |= {objective.target for objective in objectives if isinstance(objective, Match)} - predicted
    points = sorted(points.union(*fusions.values()))
    bag = lambda: EmbeddingBag(Category(), sparse=case.sparse)  # noqa: E731
    encoders = {column: KINDS.get(column, bag)() for column in points}
    model_class = Mixed if case.mixed else JointEmbedding
    torch.manual_seed(0)
    model = model_class(6, encoders, objectives, **case.settings)
    cells = {column: list(CELLS[column]) for column in CELLS}
    if case.gap:
        cells[case.gap][case.split :] = [None] * (8 - case.split)
    batch = {}
    for reader, listed in model.readers():
        reader.fit([cell for cell in CELLS[listed[0]] if cell is not None])
        batch |= {column: reader.encode(cells[column]) for column in listed}
    for column in model.key_columns - set(batch):
        batch[column] = Category().encode(cells[column])
    for teacher in model.teachers:
        vectors = torch.randn(7, 6, generator=torch.Generator().manual_seed(0))
        batch[teacher] = Ragged(vectors, torch.tensor([0, 1, 2, 4, 5, 6, 7]), torch.arange(8))
    if case.mixed:
        model.column, model.parts = case.mixed, parts
    model.configure_model()
    model.double()
    for _, fusion in model.space.fusion_networks.items():
        nn.init.normal_(fusion.network[-1].weight)
        nn.init.normal_(fusion.absent)
    for x in batch.values():
        x.values = x.values.double() if x.values.is_floating_point() else x.values
    if rank is not None:
        rows = torch.arange(8).split(sizes)[rank]
        batch = {column: x[rows] for column, x in batch.items()}
    return model, batch


class Losses(nn.Module):
    """The sum of the objectives as a module that DistributedDataParallel can wrap."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, batch):
        return torch.stack(list(self.model.losses(batch).values())).sum()


def train(losses, batch, seed):
    """The mean loss of all processes, the gradient of each parameter, and each parameter after three steps."""
    torch.manual_seed(seed)
    losses.eval()  # stretches of histories would be drawn, and then other samples
    for module in losses.modules():
        if isinstance(module, (CrossBatchMemory, KeyFrequencies)):
            module.train()
    optimizer = torch.optim.SGD(losses.parameters(), 0.1)
    first = None
    for _ in range(3):
        optimizer.zero_grad()
        loss = losses(batch)
        loss.backward()
        gradients = [
            torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.to_dense().clone()
            for parameter in losses.parameters()
        ]
        first = first or (distributed.average(loss.detach()), gradients)
        optimizer.step()
    return [first[0]], first[1], [parameter.detach().clone() for parameter in losses.parameters()]


def largest_gap(tensors, expected):
    """The largest difference of tensors, relative to the largest value of each one."""
    largest = max(float(tensor.abs().max()) for tensor in expected)
    return max(
        float((a - b).abs().max()) / max(float(b.abs().max()), 1e-6 * largest)
        for a, b in zip(tensors, expected, strict=True)
    )


def mutate(name):
    """Put a mistake into what processes share, and return what undoes it."""
    gather, weights, share = distributed.gather, distributed.weights, distributed.share

    def undo():
        distributed.gather, distributed.weights, distributed.share = gather, weights, share

    def no_gradient(x):
        whole, first = gather(x)
        own = torch.zeros(len(whole), dtype=torch.bool)
        own[first : first + len(x)] = True
        own = own.reshape(-1, *[1] * (x.dim() - 1))
        return torch.where(own, whole, whole.detach()), first

    def swapped(x):
        whole, first = gather(x)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(2)]
        dist.all_gather(sizes, torch.tensor([len(x)]))
        return torch.cat([whole[int(sizes[0]) :], whole[: int(sizes[0])]]), first

    if name == "no gradient":
        distributed.gather = no_gradient
    elif name == "no factor":
        distributed.weights = lambda counted: weights(counted) / distributed.world()
    elif name == "no offset":
        distributed.gather = lambda x: (gather(x)[0], 0)
    elif name == "own samples":
        distributed.share = lambda x: x
    else:
        distributed.gather = swapped
    return undo


MUTANTS = {"no gradient": "softmax, whole", "no factor": "softmax, whole", "no offset": "softmax, whole",
           "swapped": "softmax, whole", "own samples": "sampled, nested"}  # fmt: skip
