"""Two processes that train together do what one does with a single big batch; they are started once for all checks."""

import json
import os
import warnings

import lightning
import numpy as np
import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from jointembed import BagOfWords, Category, EmbeddingBag, JointEmbedding, Match, Numbers, Regression, TableData
from jointembed.encoders import MLP
from jointembed.objectives import distributed
from jointembed.training.callbacks import BestAndLast, Evaluate
from jointembed.training.trainer import Trainer

# Eight rows; the first five belong to the first process. Two share their artist, two their song, two a caption.
CELLS = {
    "song": ["a", "b", "c", None, "e", "f", "b", "h"],
    "words": [
        ["slow waltz", "sad"],
        "fast reel",
        None,
        "alone",
        ["sad", "night", "rain"],
        "slow waltz",
        ["reel", "rain"],
        "drums",
    ],
    "genre": [["waltz", "slow"], "reel", "jig", "reel", None, "waltz", ["reel", "fast"], "jig"],
    "artist": ["x", "y", "z", "w", "v", "x", "u", "t"],
    "price": [1.0, 5.0, 2.0, 4.0, None, 9.0, 3.0, 7.0],
    "facts": [
        {"p": 1.0, "q": 2.0},
        {"p": 3.0},
        None,
        {"q": 1.0},
        {"p": 5.0, "q": 0.0},
        {"p": 1.0},
        {"p": 2.0},
        {"q": 9.0},
    ],
}
SPLIT = 5
CASES = {
    "softmax": (lambda: Match("song", "words"), "words"),
    "softmax, no query": (lambda: Match("song", "words"), "song"),
    "softmax, several ask": (lambda: Match("words", "song"), "words"),
    "softmax, whole": (lambda: Match("song", "words"), None),
    "softmax, same": (lambda: Match("song", "words", positives_by="artist"), "words"),
    "sigmoid": (lambda: Match("song", "words", loss="sigmoid"), "words"),
    "sigmoid, same": (lambda: Match("song", "words", loss="sigmoid", positives_by="artist"), "song"),
    "all": (lambda: Match("song", "genre", "all"), "genre"),
    "all, no query": (lambda: Match("song", "genre", "all"), "song"),
    "all, sigmoid": (lambda: Match("song", "genre", "all", loss="sigmoid"), "genre"),
    "hidden": (lambda: Match("song", "genre", "all", head=[5]), "genre"),
    "sampled": (lambda: Match("song", "genre", 6), "genre"),
    "sampled, sigmoid": (lambda: Match("song", "genre", 6, loss="sigmoid"), "genre"),
    "regress": (lambda: Regression("song", "price", [4]), "price"),
    "fused": (lambda: Match("item", "words"), "song"),
}
MUTANTS = ("no gradient", "no factor", "no offset", "swapped")


class Losses(nn.Module):
    """The sum of the objectives as a module that DistributedDataParallel can wrap."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, batch):
        return torch.stack(list(self.model.losses(batch).values())).sum()


def make_case(name):
    """The model of a case, and its whole batch; the second process has nothing of the gap's column."""
    objective, gap = CASES[name]
    objective = objective()
    columns = {"fused": ["song", "facts", "words"]}.get(name, [objective.columns()[0], objective.target])
    cells = {column: list(CELLS[column]) for column in CELLS}
    if gap:
        cells[gap][SPLIT:] = [None] * (len(cells[gap]) - SPLIT)
    kinds = {"words": lambda: EmbeddingBag(BagOfWords()), "facts": lambda: MLP(Numbers(["p", "q"]), 6)}
    points = [column for column in columns if column not in objective.readers()]
    encoders = {column: kinds.get(column, lambda: EmbeddingBag(Category()))() for column in points}
    fusions = {"item": ["song", "facts"]} if name == "fused" else {}
    model = JointEmbedding(6, encoders, [objective], fusions=fusions, bf16=False)
    batch = {}
    for reader, listed in model.readers():
        reader.fit(CELLS[listed[0]])
        batch |= {column: reader.encode(cells[column]) for column in listed}
    if objective.key_columns():
        batch["artist"] = Category().encode(CELLS["artist"])
    torch.manual_seed(0)
    model.configure_model()
    model.double()
    for fusion in [fusion for _, fusion in model.space.fusion_networks.items()]:
        nn.init.normal_(fusion.network[-1].weight)
        nn.init.normal_(fusion.absent)
    for x in batch.values():
        x.values = x.values.double() if x.values.is_floating_point() else x.values
    draws = torch.tensor([0, 3, 1, 1, 2, 4])
    if hasattr(objective, "candidates"):
        objective.candidates.draw = lambda: draws
    return model, batch


def trained(losses, batch):
    """The loss and the gradients of a batch, and the parameters after three steps."""
    optimizer = torch.optim.SGD(losses.parameters(), 0.1)
    result = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = losses(batch)
        loss.backward()
        mean = loss.detach().clone()
        if distributed.world() > 1:
            dist.all_reduce(mean)
            mean /= distributed.world()
        gradients = torch.cat([parameter.grad.ravel() for parameter in losses.parameters()])
        result.append((mean, gradients.clone()))
        optimizer.step()
    parameters = torch.cat([parameter.detach().ravel() for parameter in losses.parameters()])
    return result[0][0], result[0][1], parameters


def mutated(name):
    """`gather` with one mistake in it."""
    right, weights = distributed.gather, distributed.weights

    def sizes(x):
        counts = [torch.zeros(1, dtype=torch.int64) for _ in range(2)]
        dist.all_gather(counts, torch.tensor([len(x)]))
        return [int(count) for count in counts]

    def no_gradient(x):
        whole, first = right(x)
        own = torch.zeros(len(whole), dtype=torch.bool)
        own[first : first + len(x)] = True
        own = own.reshape(-1, *[1] * (x.dim() - 1))
        return torch.where(own, whole, whole.detach()), first

    def swapped(x):
        whole, first = right(x)
        a, _ = sizes(x)
        return torch.cat([whole[a:], whole[:a]]), first

    if name == "no gradient":
        distributed.gather = no_gradient
    elif name == "no factor":
        distributed.weights = lambda counted: weights(counted) / distributed.world()
    elif name == "no offset":
        distributed.gather = lambda x: (right(x)[0], 0)
    else:
        distributed.gather = swapped
    return right, weights


ROWS = [
    {"split": "train" if n < 24 else "dev", "song": f"s{n}", "genre": "abc"[n % 3], "unused": "w"} for n in range(31)
]
TRAINERS = {"Lightning's": lightning.Trainer, "ours": Trainer}


class Recorder(lightning.Callback):
    """Records the rows of each batch of this process, the logged losses, and a random number."""

    def __init__(self):
        self.result = {"train": [], "dev": 0, "losses": []}

    def on_train_start(self, *_):
        self.result["random"] = float(torch.rand(()))

    def on_train_batch_start(self, trainer, model, batch, number):
        self.result["train"].append(batch["song"].values.tolist())

    def on_train_batch_end(self, trainer, *_):
        self.result["losses"].append(float(trainer.callback_metrics["train/loss"]))

    def on_validation_batch_start(self, trainer, model, batch, number, loader=0):
        self.result["dev"] += len(batch["song"])

    def on_fit_end(self, trainer, model):
        self.result["metrics"] = {name: float(value) for name, value in trainer.callback_metrics.items()}


def fit(trainer_class, folder, batch_size, devices):
    """What `Recorder` records of an epoch; no objective needs one of the encoders."""
    torch.manual_seed(0)
    encoders = {column: EmbeddingBag(Category()) for column in ("song", "genre", "unused")}
    model = JointEmbedding(6, encoders, [Match("song", "genre")], bf16=False)
    recorder = Recorder()
    trainer = trainer_class(
        max_epochs=1,
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        callbacks=[recorder, Evaluate("song", "genre"), BestAndLast("song-genre/hit@1", "max")],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        default_root_dir=folder,
    )
    trainer.fit(model, TableData(ROWS, batch_size=batch_size))
    return recorder.result


def work(rank, folder):
    """One process: first every case as a single big batch, then together with the other process."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="lightning")
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    alone = fit(lightning.Trainer, f"{folder}/alone{rank}", 8, 1)
    expected = {name: trained(Losses(make_case(name)[0]), make_case(name)[1]) for name in CASES}
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    rows = torch.arange(SPLIT) if rank == 0 else torch.arange(SPLIT, len(CELLS["song"]))
    result = {}
    for mutant in (None, *MUTANTS):
        right = mutated(mutant) if mutant else None
        for name in CASES if mutant is None else ("softmax, whole",):
            model, batch = make_case(name)
            part = {column: x[rows] for column, x in batch.items()}
            together = trained(DistributedDataParallel(Losses(model)), part)
            gaps = [float((a - b).abs().max()) for a, b in zip(together, expected[name], strict=True)]
            result[mutant or name] = {
                "gaps": gaps,
                "size": float(expected[name][1].abs().max()),
                "loss": float(expected[name][0]),
            }
        if right:
            distributed.gather, distributed.weights = right
    # Lightning takes these for processes of torchrun, and starts none itself.
    addresses = {"MASTER_ADDR": "localhost", "MASTER_PORT": "0", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0"}
    os.environ |= {"TORCHELASTIC_RUN_ID": "test", "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= addresses
    fits = {name: fit(trainer, f"{folder}/{number}", 4, 2) for number, (name, trainer) in enumerate(TRAINERS.items())}
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump({"cases": result, "alone": alone, "fits": fits}, file)
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("gather"))
    multiprocessing.spawn(work, (folder,), nprocs=2)
    result = []
    for rank in range(2):
        with open(f"{folder}/{rank}.json") as file:
            result.append(json.load(file))
    return result


@pytest.mark.parametrize("name", CASES)
def test_two_processes_give_the_loss_gradients_and_steps_of_one(name, ranks):
    for rank in range(2):
        entry = ranks[rank]["cases"][name]
        assert entry["size"] > 1e-3 and entry["loss"] > 1e-3, "the case tests something"
        assert max(entry["gaps"]) <= 1e-10, f"rank {rank}: loss, gradients, parameters differ by {entry['gaps']}"


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mistake_in_the_gathering_would_be_seen(mutant, ranks):
    assert max(ranks[0]["cases"][mutant]["gaps"]) > 1e-4


@pytest.mark.parametrize("trainer", TRAINERS)
def test_processes_share_out_the_rows_under_any_trainer(trainer, ranks):
    alone, parts = ranks[0]["alone"], [rank["fits"][trainer] for rank in ranks]
    together = [first + second for first, second in zip(*(part["train"] for part in parts), strict=True)]
    assert together == alone["train"]
    assert sorted(sum(together, [])) == list(range(24))
    assert [part["dev"] for part in parts] == [4, 3]


@pytest.mark.parametrize("trainer", TRAINERS)
def test_every_process_logs_the_losses_and_metrics_of_all(trainer, ranks):
    alone = ranks[0]["alone"]
    for rank in ranks:
        fit = rank["fits"][trainer]
        assert fit["losses"] == pytest.approx(alone["losses"], rel=1e-5)
        assert fit["metrics"] == pytest.approx(alone["metrics"], rel=1e-5)
        assert {"dev/loss", "dev/0_song_genre", "song-genre/hit@1"} <= set(fit["metrics"])


@pytest.mark.parametrize("trainer", TRAINERS)
def test_processes_draw_different_random_numbers(trainer, ranks):
    first, second = (rank["fits"][trainer]["random"] for rank in ranks)
    assert first == ranks[0]["alone"]["random"] != second


def test_single_process_gathers_and_averages_its_own_rows():
    x = torch.arange(3.0)
    whole, first = distributed.gather(x)
    assert whole is x and first == 0 and (distributed.world(), distributed.rank()) == (1, 0)
    values = torch.tensor([1.0, 2.0, 9.0], requires_grad=True)
    assert distributed.mean(values, torch.tensor([True, True, False])) == 1.5
    assert distributed.mean(values, torch.tensor([1.0, 0.0, 3.0])) == 7
    nothing = distributed.mean(values, torch.zeros(3).bool())
    nothing.backward()
    assert nothing == 0 and np.array_equal(values.grad, np.zeros(3))
