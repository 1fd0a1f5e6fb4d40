"""Encoders that begin as a column of another checkpoint: what of them is trained, and what is saved."""

import json

import numpy as np
import pytest
import soundfile
import torch
from fine_tuning import BITMAPS, ROWS, Stop, fit, make_model, save_source, weights
from torch import nn

from jointembed import (
    GRU,
    Category,
    ConvNet,
    EmbeddingBag,
    Encoder,
    Evaluate,
    JointEmbedding,
    LogMel,
    Match,
    Numbers,
    Space,
    SparseImage,
    TableData,
    Trainer,
    from_checkpoint,
)
from jointembed.errors import DamagedError, UnsafeError, UsageError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
    pytest.mark.usefixtures("one_thread"),
]
rng = np.random.default_rng(1)


class Normalizing(Encoder):
    """A network with batch normalisation."""

    def build(self, dim):
        self.network = nn.Sequential(nn.Linear(2, self.width), nn.BatchNorm1d(self.width))

    def pieces(self, x):
        return self.network(x.values)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The checkpoint of a space of two columns, and that space."""
    path = tmp_path_factory.mktemp("source") / "source.ckpt"
    return path, save_source(path)


def test_tower_begins_at_the_vectors_of_its_checkpoint(source):
    path, space = source
    for projection in (None, [], [5]):
        own = Space(6, {"bitmap": from_checkpoint(str(path), "bitmap", projection=projection)})
        own.build()
        assert np.array_equal(own.embed("bitmap", BITMAPS), space.embed("bitmap", BITMAPS))
    other_dim = Space(4, {"bitmap": from_checkpoint(str(path), "bitmap")})
    other_dim.build()
    assert other_dim.embed("bitmap", BITMAPS).shape == (12, 4)


def test_frozen_weights_stay_and_the_rest_learns(source, tmp_path):
    path, space = source
    model = make_model(from_checkpoint(str(path), "bitmap", projection=[]))
    fit(model, tmp_path)
    tower = model.space.encoder("bitmap")
    before, after = weights(space.encoder("bitmap")), weights(tower.encoder)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(tower.projection.weight, space.column("bitmap").projection.weight)
    assert not np.allclose(model.space.embed("bitmap", BITMAPS), space.embed("bitmap", BITMAPS), atol=1e-3)


@pytest.mark.parametrize(
    ("trainable", "prefixes"),
    [
        ("all", ("",)),
        (["stages.1"], ("stages.1.",)),
        (["stages.*.halve.weight", "projection"], ("stages.0.halve", "stages.1.halve", "projection.")),
    ],
)
def test_named_layers_are_trained_and_no_others(source, tmp_path, trainable, prefixes):
    model = make_model(from_checkpoint(str(source[0]), "bitmap", trainable))
    tower = model.space.encoder("bitmap")
    before = {name.removeprefix("encoder."): value.clone() for name, value in tower.named_parameters()}
    fit(model, tmp_path)
    after = {name.removeprefix("encoder."): value for name, value in tower.named_parameters()}
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.startswith(prefixes)}


def test_reader_is_not_fitted_again(source, tmp_path):
    path = source[0]
    model = JointEmbedding(
        6,
        {"bitmap": ConvNet(SparseImage([8, 8]), [4], 8, axis=None), "digit": from_checkpoint(str(path), "digit")},
        [Match("bitmap", "digit", "all")],
    )
    fit(model, tmp_path, [{**row, "digit": "ac"[number % 2]} for number, row in enumerate(ROWS)])
    assert model.space.reader("digit").vocabulary() == ["a", "b", "c", "d"]
    assert np.array_equal(model.space.embed("digit", list("abcd")), source[1].embed("digit", list("abcd")))


@pytest.mark.parametrize("trainable", ["none", "all"])
def test_checkpoint_needs_no_other_file(source, tmp_path, trainable):
    copy = tmp_path / "copy.ckpt"
    copy.write_bytes(source[0].read_bytes())
    model = make_model(from_checkpoint(str(copy), "bitmap", trainable, [5]))
    fit(model, tmp_path)
    copy.unlink()
    loaded = Space.load(tmp_path / "run")
    assert np.array_equal(loaded.embed("bitmap", BITMAPS), model.space.embed("bitmap", BITMAPS))
    assert loaded.fingerprint == model.space.fingerprint
    again = make_model(from_checkpoint(str(tmp_path / "run"), "bitmap", ["encoder.head"]))
    fit(again, tmp_path / "again")
    assert Space.load(tmp_path / "again" / "run").fingerprint == again.space.fingerprint


def test_run_is_resumed(source, tmp_path):
    whole = make_model(from_checkpoint(str(source[0]), "bitmap", ["head"], [5]))
    fit(whole, tmp_path / "whole", epochs=3, callbacks=[Stop(3)])
    first = make_model(from_checkpoint(str(source[0]), "bitmap", ["head"], [5]))
    fit(first, tmp_path / "parts", epochs=3, callbacks=[Stop(1)])
    rest = make_model(from_checkpoint(str(source[0]), "bitmap", ["head"], [5]))
    fit(rest, tmp_path / "parts", epochs=3, ckpt_path="last")
    assert rest.space.fingerprint == whole.space.fingerprint != first.space.fingerprint


def test_batch_normalisation_keeps_its_statistics(tmp_path):
    space = Space(4, {"facts": Normalizing(Numbers(["x", "y"]), 4)})
    space.build()
    cells = [{"x": number, "y": number**2} for number in range(12)]
    space.train().encoder("facts")(space.reader("facts").encode(cells))  # the statistics move once
    space.save(tmp_path / "facts.ckpt")
    trust = [__name__.split(".")[0]]
    model = JointEmbedding(
        4,
        {
            "facts": from_checkpoint(str(tmp_path / "facts.ckpt"), trainable="all", trust=trust),
            "digit": EmbeddingBag(Category()),
        },
        [Match("facts", "digit", "all")],
    )
    fit(model, tmp_path, [{**cell, "digit": "ab"[number % 2]} for number, cell in enumerate(cells)])
    before, after = weights(space.encoder("facts")), weights(model.space.encoder("facts").encoder)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"network.0.weight", "network.0.bias", "network.1.weight", "network.1.bias"}
    with pytest.raises(UnsafeError, match="trust"):
        from_checkpoint(str(tmp_path / "facts.ckpt"))


def test_checkpoint_from_a_stranger_opens_no_other_file(source, tmp_path):
    content = torch.load(source[0], weights_only=True)
    encoders = content["jointembed"]["space"]["init_args"]["encoders"]
    encoders["bitmap"] = {"class_path": "jointembed.from_checkpoint", "init_args": {"checkpoint": str(source[0])}}
    torch.save(content, tmp_path / "strange.ckpt")
    with pytest.raises(UnsafeError, match="from_checkpoint"):
        Space.load(tmp_path / "strange.ckpt")


def test_mistakes_are_explained(source, tmp_path):
    path = str(source[0])
    with pytest.raises(UsageError, match="several columns.*bitmap"):
        from_checkpoint(path)
    with pytest.raises(UsageError, match="no column bitmaps.*did you mean bitmap"):
        from_checkpoint(path, "bitmaps")
    with pytest.raises(UsageError, match=r"trainable: stage\.1: it matches no layer.*stages\.1"):
        from_checkpoint(path, "bitmap", ["stage.1"])
    with pytest.raises(UsageError, match="does not exist"):
        from_checkpoint(str(tmp_path / "absent.ckpt"), "bitmap")
    ordered = Space(6, {"digit": EmbeddingBag(Category())}, {"days": "digit"}, {"days": GRU()})
    ordered.reader("days").fit(["a"])
    ordered.build()
    ordered.save(tmp_path / "ordered.ckpt")
    with pytest.raises(UsageError, match="read in order by GRU"):
        from_checkpoint(str(tmp_path / "ordered.ckpt"), "days")


def test_trained_parameters_are_counted_by_column(source, tmp_path, capsys):
    model = make_model(from_checkpoint(str(source[0]), "bitmap", ["stages.1"], []))
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        precision="32-true",
        default_root_dir=str(tmp_path),
        enable_progress_bar=False,
    )
    trainer.fit(model, TableData(ROWS, batch_size=6, cache=str(tmp_path / "cache")))
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line.strip()}
    stage = 4 * 8 * 9 + 8 * 8 * 9 + 4 * 8  # two convolutions and two normalisations
    assert int(rows["bitmap"][1].replace(",", "")) == stage + 6 * 6 + 6
    assert rows["digit"] == ["24", "24"]


class Counting(Encoder):
    """A frozen encoder that counts the pieces that it computes."""

    pieces_computed = 0

    def build(self, dim):
        self.network = nn.Linear(64, self.width)

    def pieces(self, x):
        Counting.pieces_computed += len(x.rows)
        return self.network(x.dense((64,)))


class Listening(Counting):
    """The same for windows of sounds."""

    def build(self, dim):
        self.network = nn.Linear(80, self.width)

    def pieces(self, x):
        Counting.pieces_computed += len(x.rows)
        return self.network(x.values.flatten(1))


@pytest.fixture
def counting(tmp_path):
    """A frozen encoder of a column that two others share too, whose checkpoint is `counting.ckpt`."""
    torch.manual_seed(2)
    space = Space(6, {"bitmap": Counting(SparseImage([8, 8]), 6)})
    space.build()
    space.save(tmp_path / "counting.ckpt")
    trust = [__name__.split(".")[0]]
    Counting.pieces_computed = 0
    return lambda: from_checkpoint(str(tmp_path / "counting.ckpt"), trust=trust, projection=[])


def test_frozen_encoder_computes_each_cell_once(counting, tmp_path):
    callbacks = [Evaluate("bitmap", "digit")]
    rows = [{**row, "split": "dev" if number % 4 == 3 else "train"} for number, row in enumerate(ROWS)]
    fit(make_model(counting()), tmp_path, rows, 1, callbacks)
    once = Counting.pieces_computed
    assert len(ROWS) <= once <= 32  # a batch of one shape
    for path in (tmp_path / "run").iterdir():
        path.unlink()
    fit(make_model(counting()), tmp_path, rows, 3, callbacks)
    assert Counting.pieces_computed == once
    (tmp_path / "run" / "last.ckpt").unlink()
    fit(make_model(counting()), tmp_path, [{**rows[0], "bitmap": 1 - BITMAPS[0]}, *rows[1:]], 1, callbacks)
    assert Counting.pieces_computed == once + 32  # the changed cell, in such a batch


def test_training_on_cached_vectors_is_training_on_cells(counting, tmp_path):
    paths = [str(tmp_path / f"{number}.npy") for number in range(12)]
    for path, bitmap in zip(paths, BITMAPS, strict=True):
        np.save(path, bitmap)
    rows = [{**row, "bitmaps": [paths[number], paths[number // 2]]} for number, row in enumerate(ROWS)]
    rows[3] = {"digit": "a", "split": "train"}
    spaces = []
    for folder in ("cached", "computed"):
        torch.manual_seed(1)
        tower = counting()
        tower.cached = folder == "cached"
        encoders = {"bitmap": tower, "digit": EmbeddingBag(Category())}
        objectives = [Match("bitmap", "digit", "all"), Match("digit", "bitmaps")]
        columns = {"bitmap": "bitmap", "bitmaps": "bitmap"}
        model = JointEmbedding(6, encoders, objectives, columns, lr=0.05)
        fit(model, tmp_path / folder, rows)
        spaces.append(model.space)
    assert Counting.pieces_computed > 0
    assert np.allclose(*(space.embed("bitmap", BITMAPS) for space in spaces), atol=1e-5)


def test_damaged_vectors_are_computed_again(counting, tmp_path):
    fit(make_model(counting()), tmp_path, epochs=1)
    trust = [__name__.split(".")[0]]
    expected, once = Space.load(tmp_path / "run", trust).fingerprint, Counting.pieces_computed
    (data,) = (tmp_path / "cache" / "features").glob("vectors-*.bin")
    content = bytearray(data.read_bytes())
    content[30] ^= 64
    data.write_bytes(content)
    (tmp_path / "run" / "last.ckpt").unlink()
    fit(make_model(counting()), tmp_path, epochs=1)
    assert Counting.pieces_computed == once + 32
    assert Space.load(tmp_path / "run", trust).fingerprint == expected


def test_interrupted_cache_is_completed(tmp_path):
    """A file that cannot be read ends a strict run; the sounds before it stay computed."""
    space = Space(6, {"sound": Listening(LogMel(4000, 0.1, 8, 64, 40), 6)})
    space.build()
    space.save(tmp_path / "listening.ckpt")
    rows = [{"sound": f"{number}.wav", "digit": "ab"[number % 2], "split": "train"} for number in range(20)]
    for row in rows:
        soundfile.write(tmp_path / row["sound"], rng.normal(0, 0.1, 500), 4000)
    good = (tmp_path / "19.wav").read_bytes()
    (tmp_path / "19.wav").write_text("no sound")
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    Counting.pieces_computed = 0

    def run():
        encoder = from_checkpoint(str(tmp_path / "listening.ckpt"), trust=[__name__.split(".")[0]])
        encoders = {"sound": encoder, "digit": EmbeddingBag(Category())}
        model = JointEmbedding(6, encoders, [Match("sound", "digit", "all")])
        fit(model, tmp_path, tmp_path, 1, strict=True)

    with pytest.raises(DamagedError, match="19.wav"):
        run()
    assert Counting.pieces_computed >= 16
    (tmp_path / "19.wav").write_bytes(good)
    Counting.pieces_computed = 0
    run()
    assert 0 < Counting.pieces_computed <= 16  # all of them would be 24, in batches of 8


def test_several_processes_load_cached_batches(counting, tmp_path):
    models = []
    for workers in (0, 2):
        models.append(make_model(counting()))
        fit(models[-1], tmp_path / str(workers), workers=workers)
    assert models[0].space.fingerprint == models[1].space.fingerprint
