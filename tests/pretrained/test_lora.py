"""Adapters of low rank: only they are trained, and checkpoints hold the weights with them merged."""

import builtins

import numpy as np
import pytest
import torch
from fine_tuning import BITMAPS, Stop, fit, make_model, save_source, weights
from tiny_models import shaken, sound, tiny_model

from jointembed import EMA, LoRA, Space, from_checkpoint
from jointembed.errors import MismatchError, UsageError
from jointembed.pretrained.huggingface.adopt import convert_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:lightning"),
    pytest.mark.usefixtures("one_thread"),
]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The checkpoint of a space of two columns, and that space."""
    pytest.importorskip("peft")
    path = tmp_path_factory.mktemp("source") / "source.ckpt"
    return path, save_source(path)


def make_adapted(path, targets=None, **settings):
    torch.manual_seed(3)
    return make_model(from_checkpoint(str(path), "bitmap", lora=LoRA(rank=2, targets=targets), **settings))


@pytest.mark.parametrize("targets", [None, ["stages.*", "head"]])
def test_only_adapters_are_trained_and_the_saved_space_has_them_merged(source, tmp_path, targets):
    path, space = source
    model = make_adapted(path, targets)
    tower = model.space.encoder("bitmap")
    begin = weights(space.encoder("bitmap"))
    own = {name: value.clone() for name, value in tower.encoder.named_parameters()}
    fit(model, tmp_path)
    changed = {name for name, value in tower.encoder.named_parameters() if not torch.equal(value, own[name])}
    assert changed and all(".lora_" in name for name in changed)
    assert changed == {name for name in own if ".lora_" in name}
    loaded = Space.load(tmp_path / "run")
    assert not any("lora" in name for name, _ in loaded.named_parameters())
    assert np.allclose(loaded.embed("bitmap", BITMAPS), model.space.embed("bitmap", BITMAPS), atol=1e-5)
    assert not np.allclose(loaded.embed("bitmap", BITMAPS), space.embed("bitmap", BITMAPS), atol=1e-3)
    merged = weights(loaded.encoder("bitmap").encoder)
    assert merged.keys() == begin.keys()
    different = {name for name in begin if not torch.equal(begin[name], merged[name])}
    assert different == {name.split(".lora_")[0] + ".weight" for name in changed}
    model.space.save(tmp_path / "space.ckpt")
    assert Space.load(tmp_path / "space.ckpt").fingerprint == loaded.fingerprint


def test_merged_checkpoint_needs_no_peft(source, tmp_path, monkeypatch):
    fit(make_adapted(source[0]), tmp_path, epochs=1)
    real_import = builtins.__import__

    def refuse(name, *arguments, **options):
        if name.split(".")[0] == "peft":
            raise ImportError("peft is not installed")
        return real_import(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert Space.load(tmp_path / "run").embed("bitmap", BITMAPS).shape == (12, 6)
    with pytest.raises(UsageError, match=r"jointembed\[finetune\]"):
        make_adapted(source[0])


@pytest.mark.parametrize("averaged", [False, True])
def test_run_with_adapters_is_resumed(source, tmp_path, averaged):
    def callbacks(*more):
        return [*([EMA(0.5)] if averaged else []), *more]

    whole = make_adapted(source[0], trainable=["stages.0"])
    fit(whole, tmp_path / "whole", epochs=3, callbacks=callbacks(Stop(3)))
    first = make_adapted(source[0], trainable=["stages.0"])
    fit(first, tmp_path / "parts", epochs=3, callbacks=callbacks(Stop(1)))
    rest = make_adapted(source[0], trainable=["stages.0"])
    fit(rest, tmp_path / "parts", epochs=3, callbacks=callbacks(), ckpt_path="last")
    assert rest.space.fingerprint == whole.space.fingerprint != first.space.fingerprint


def test_run_is_not_resumed_over_other_weights(source, tmp_path):
    fit(make_adapted(source[0]), tmp_path, epochs=2, callbacks=[Stop(1)])
    with pytest.raises(MismatchError, match="it has no adapters"):
        fit(make_adapted(source[0], ["head", "stages.0"]), tmp_path, epochs=2, ckpt_path="last")
    save_source(tmp_path / "other.ckpt", seed=5)
    with pytest.raises(MismatchError, match="began with other weights"):
        fit(make_adapted(tmp_path / "other.ckpt"), tmp_path, epochs=2, ckpt_path="last")


def test_model_of_transformers_is_adapted(tmp_path):
    pytest.importorskip("peft")
    model, extractor = tiny_model("ast")
    for part in (shaken(model), extractor):
        part.save_pretrained(tmp_path / "ast")
    convert_model(tmp_path / "ast", "ast").save(tmp_path / "ast.ckpt")
    encoder = from_checkpoint(str(tmp_path / "ast.ckpt"), lora=LoRA(rank=2, targets=["network.*.attention.*"]))
    space = Space(16, {"audio": encoder})
    space.build()
    sounds, begin = [sound(0.6, 16000, seed) for seed in range(3)], Space.load(tmp_path / "ast.ckpt")
    assert np.allclose(space.embed("audio", sounds), begin.embed("audio", sounds), atol=1e-6)
    for name, value in space.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value)
    space.save(tmp_path / "space.ckpt")
    vectors = space.embed("audio", sounds)
    assert np.allclose(Space.load(tmp_path / "space.ckpt").embed("audio", sounds), vectors, atol=1e-5)
    assert not np.allclose(vectors, begin.embed("audio", sounds), atol=1e-2)


def test_mistakes_are_explained(source):
    path = source[0]
    with pytest.raises(UsageError, match=r"lora\.targets: heads: .*head"):
        make_adapted(path, ["heads"])
    with pytest.raises(UsageError, match="all weights are trained already"):
        make_adapted(path, trainable="all")
    with pytest.raises(UsageError, match="its layer has an adapter"):
        make_adapted(path, trainable=["head.2"])
    with pytest.raises(UsageError, match="no linear layer"):
        make_model(from_checkpoint(str(path), "digit", lora=LoRA()))
    with pytest.raises(UsageError, match=r"LoRA\.rank: must be at least 1"):
        make_model(from_checkpoint(str(path), "bitmap", lora=LoRA(rank=0)))
