"""Two processes that train together do what one does with a single big batch; they are started once for all checks."""

import json
import os
import warnings

import lightning
import numpy as np
import pytest
import torch
from distributed_cases import CASES, MUTANTS, Losses, largest_gap, make_case, mutate, train
from torch import distributed as dist
from torch import multiprocessing
from torch.nn.parallel import DistributedDataParallel

from jointembed import Category, EmbeddingBag, JointEmbedding, Match, TableData
from jointembed.objectives import Candidates, Loss, Objective, distributed
from jointembed.training.callbacks.best_and_last import BestAndLast
from jointembed.training.callbacks.evaluate import Evaluate
from jointembed.training.trainer import Trainer

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
    model = JointEmbedding(6, encoders, [Match("song", "genre")])
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
        precision="32-true",
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
    expected = {name: train(Losses(model), batch, 0) for name in CASES for model, batch in [make_case(name)]}
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    result = {}
    for mutant, name in [*((None, name) for name in CASES), *MUTANTS.items()]:
        undo = mutate(mutant) if mutant else None
        model, batch = make_case(name, rank)
        together = train(DistributedDataParallel(Losses(model)), batch, rank)
        loss, gradients, _ = expected[name]
        result[mutant or name] = {
            "gaps": [largest_gap(a, b) for a, b in zip(together, expected[name], strict=True)],
            "loss": float(loss[0]),
            "size": max(float(gradient.abs().max()) for gradient in gradients),
        }
        if undo:
            undo()
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
    # Both are forked from a process that has imported everything, and has done nothing else.
    multiprocessing.get_context("forkserver").set_forkserver_preload([__name__])
    multiprocessing.start_processes(work, (folder,), nprocs=2, start_method="forkserver")
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


def test_all_objectives_candidates_and_losses_are_among_the_cases():
    kinds = {type(part) for case in CASES.values() for objective in case.objectives() for part in objective.modules()}
    for base in (Objective, Candidates, Loss):
        public = {kind for kind in base.__subclasses__() if kind.__module__.startswith("jointembed.objectives")}
        assert {kind.__name__ for kind in public - kinds} <= {"_Scaled"}


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
        health = {name: value for name, value in fit["metrics"].items() if name.startswith("health/")}
        assert health == {name: ranks[0]["fits"][trainer]["metrics"][name] for name in health}
        assert bool(health) == (trainer == "ours")
        metrics = {name: value for name, value in fit["metrics"].items() if name not in health}
        assert metrics == pytest.approx(alone["metrics"], rel=1e-5)
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
