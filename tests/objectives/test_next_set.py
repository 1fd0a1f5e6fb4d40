"""Sets in their order: exact probabilities of what comes next, and what reads a piano roll and carries a memory."""

import itertools
import json

import lightning
import numpy as np
import pytest
import torch

from jointembed import (
    GRU,
    BagOfWords,
    CausalTransformer,
    EmbeddingBag,
    JointEmbedding,
    NextItem,
    NextSet,
    PianoRoll,
    Space,
    TableData,
)
from jointembed.__main__ import main
from jointembed.errors import UsageError
from jointembed.objectives.likelihood import frequency_baseline, negative_log_likelihoods

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
POOLS = [lambda: GRU(16, layers=2), lambda: GRU(16, mean=True), lambda: CausalTransformer(16, layers=1)]


def nats(model, column, cells):
    return negative_log_likelihoods(model.likelihood_objective(column), model.space, column, cells)


def built(pool=None, reader=None, seed=0):
    """A small model with random weights, far enough from where they begin to tell sets apart."""
    torch.manual_seed(seed)
    reader = reader or PianoRoll(60, 63)
    model = JointEmbedding(8, {"roll": EmbeddingBag(reader)}, [NextSet("roll", width=6, reach=2)],
                           pools={"roll": pool or GRU(16)})  # fmt: skip
    model.configure_model()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn_like(value) * 0.5)
    return model.eval()


SETS = [list(entry) for size in range(5) for entry in itertools.combinations(range(60, 64), size)]


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("before", [[], [[60, 63]], [[], [61], []]])
def test_the_probabilities_of_all_sets_sum_to_one_after_any_history(pool, before):
    model = built(pool())
    cells = [[*before, frame, [60]] for frame in SETS]
    chances = [np.exp(-entry[len(before)]) for entry in nats(model, "roll", cells)]
    assert len(chances) == 16 and sum(chances) == pytest.approx(1, abs=1e-5)
    assert max(chances) > 3 * min(chances)


@pytest.mark.parametrize("pool", POOLS)
def test_likelihood_of_a_set_depends_on_earlier_sets_only(pool):
    model = built(pool())
    first, second = [[60], [61, 62], [63], []], [[60], [61, 62], [], [60, 61, 62, 63]]
    entry, second_ = nats(model, "roll", [first, second])
    assert (entry[:2] == second_[:2]).all() and abs(entry[2:] - second_[2:]).min() > 1e-3
    x = model.space.reader("roll").encode([second, None, first])
    with torch.inference_mode():
        codes = model({"roll": x})
        together = (
            model.objectives[0].negative_log_likelihood(codes["roll"].states, codes["roll"].sequence).double().numpy()
        )
        loss = float(model.objectives[0](codes, {"roll": x}, model.space))
    np.testing.assert_allclose(together, np.concatenate([second_, entry]), rtol=1e-5)
    assert loss == pytest.approx(together.mean(), rel=1e-5)


def test_a_batch_of_missing_rolls_gives_a_loss_of_zero_that_has_gradients():
    model = built().train()
    loss = sum(model.losses({"roll": model.space.reader("roll").encode([None, None])}).values())
    loss.backward()
    assert float(loss.detach()) == 0 and model.space.encoder("roll").table.weight.grad is not None


def test_a_row_that_the_pool_would_cut_is_refused_and_so_are_things_that_are_not_judged():
    model = built()
    with pytest.raises(UsageError, match=r"17 pieces, and the model reads 16.*`length`"):
        nats(model, "roll", [[[60]] * 16, [[60]] * 17])
    words = JointEmbedding(
        4, {"text": EmbeddingBag(BagOfWords())}, [NextItem("text", "all")], pools={"text": CausalTransformer()}
    )
    assert words.likelihood_objective("text") is None
    bare = JointEmbedding(4, {"roll": EmbeddingBag(PianoRoll())}, [NextSet("roll")])
    with pytest.raises(UsageError, match="pools: {roll: CausalTransformer}"):
        bare.configure_model()


def test_frequency_baseline_has_the_likelihood_of_independent_items():
    model = built()
    [plain] = frequency_baseline(model.space, "roll", [[[60], [60, 62]], None, [[], [60]]], [[[60], []]])
    share = np.array([3.5, 0.5, 1.5, 0.5]) / 5
    nothing = -np.log(1 - share).sum()
    np.testing.assert_allclose(plain, [nothing - np.log(share[0] / (1 - share[0])), nothing])


def chords(count=48):
    """A major chord, then the same a tone lower, as a row's own key wants it, and one rest."""
    rows = []
    for number in range(count):
        root = 60 + number % 6
        cell = [[root - 2 * (step % 2), root + 4 - 2 * (step % 2)] if step != 4 else [] for step in range(7)]
        rows.append({"id": f"r{number}", "split": "test" if number % 4 == 0 else "train", "roll": cell})
    return rows


def test_next_set_learns_and_evaluate_prints_nats_with_an_interval(tmp_path, capsys):
    lightning.seed_everything(0)
    model = JointEmbedding(16, {"roll": EmbeddingBag(PianoRoll(50, 75))},
                           [NextSet("roll", width=16, reach=8, dropout=0.0)],
                           pools={"roll": GRU(16, dropout=0.0)}, lr=0.02)  # fmt: skip
    rows = chords()
    trainer = lightning.Trainer(max_epochs=40, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                                enable_model_summary=False, accelerator="cpu")  # fmt: skip
    trainer.fit(model, TableData(rows, batch_size=12))
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model.save(tmp_path / "roll.ckpt")
    words = ["evaluate", str(tmp_path / "roll.ckpt"), str(tmp_path), "--query", "roll", "--target", "roll"]
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    result = report["metrics"]
    assert report["queries"] == 12 and result["nats_after_first"]["value"] < 0.3 < 3 < result["nats"]["chance"]
    test = [row["roll"] for row in rows if row["split"] == "test"]
    again = nats(JointEmbedding.load(tmp_path / "roll.ckpt"), "roll", test)
    assert result["nats"]["value"] == pytest.approx(np.concatenate(again).mean())
    assert main([*words, "--group", "key"]) == 2 and "no such column" in capsys.readouterr().err
    assert main([*words, "--relevant", "split", "--split", "all"]) == 0
    assert "map" in capsys.readouterr().out


def test_a_roll_keeps_rests_and_reads_each_pitch_once_in_ascending_order():
    x = PianoRoll(21, 108).encode(
        [[[67, 60, None, 60], [], (np.int64(21),)], None, [[]], np.array([[60, 64], [62, 65]])]
    )
    assert x.values.tolist() == [39, 46, 0, 39, 43, 41, 44]
    assert x.rows.tolist() == [0, 0, 0, 3, 3] and x.offsets.tolist() == [0, 2, 2, 3, 5, 7]


@pytest.mark.parametrize("cell", [[60, 64], "60", [[60], 64], [[20]], [[60.5]], [["c"]]])
def test_invalid_piano_rolls_are_refused_in_one_line(cell):
    with pytest.raises(UsageError, match=r"roll: .*Fix: "):
        PianoRoll().encode([cell])


@pytest.mark.parametrize("pool", POOLS)
def test_a_roll_has_the_same_bits_beside_any_others_and_after_a_reload(pool, tmp_path):
    model = built(pool())
    rng = np.random.default_rng(0)
    cells = [[SETS[n] for n in rng.integers(1, 16, size=rng.integers(1, 20))] for _ in range(50)]
    together = model.space.embed("roll", cells)
    for number in (0, 7, 49):
        assert (model.space.embed("roll", [cells[number]])[0] == together[number]).all()
    model.save(tmp_path / "roll.ckpt")
    assert (Space.load(tmp_path / "roll.ckpt").embed("roll", cells[::-1])[::-1] == together).all()


def test_mean_of_the_states_includes_the_first_and_the_last_state_is_the_last():
    model = built(GRU(16, mean=True))
    pool, x = model.space.pools["roll"], model.space.reader("roll").encode([[[60], [61], [62]], None, [[63]]])
    with torch.inference_mode():
        states = pool.states(model.space.encoder("roll").pieces(x), x)
        z = pool.last(states, x)
        pool.mean = False
        last = pool.last(states, x)
    torch.testing.assert_close(z, torch.stack([states[:3].mean(0), torch.zeros(8), states[3]]))
    assert torch.equal(last, torch.stack([states[2], torch.zeros(8), states[3]]))
