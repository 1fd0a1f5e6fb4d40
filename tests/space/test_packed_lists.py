"""Vocabularies of hundreds of thousands of ids are saved and read back without an object for each in the pickle."""

import zipfile

import pytest
import torch

from jointembed import Category, EmbeddingBag, JointEmbedding, Match, Space
from jointembed.errors import DamagedError
from jointembed.space import checkpoint
from jointembed.space.packed_lists import PACKED, pack, unpack


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    encoders = {name: EmbeddingBag(Category()) for name in ("user", "song")}
    model = JointEmbedding(4, encoders, [Match("user", "song", 8)])
    for reader, columns in model.readers():
        reader.fit([f"{columns[0]} Ω {number}" for number in range(20_000)])
    model.configure_model()
    return model


def test_a_vocabulary_of_a_checkpoint_is_not_pickled_id_by_id(model, tmp_path):
    model.save(tmp_path / "a.ckpt")
    with zipfile.ZipFile(tmp_path / "a.ckpt") as archive:
        pickled = next(entry for entry in archive.infolist() if entry.filename.endswith("data.pkl"))
    assert pickled.file_size < 20_000
    space = Space.load(tmp_path / "a.ckpt")
    assert space.reader("song").vocabulary() == model.space.reader("song").vocabulary()
    assert space.reader("song").counts == model.space.reader("song").counts
    assert space.fingerprint == model.space.fingerprint


def test_a_checkpoint_with_vocabularies_as_lists_is_read(model, tmp_path):
    content = model.content()
    content[checkpoint.KEY]["version"] = 2
    torch.save(content, tmp_path / "a.ckpt")
    assert Space.load(tmp_path / "a.ckpt").fingerprint == model.space.fingerprint


@pytest.mark.parametrize(
    "value",
    [
        ["plain", "Ωß", "", "\udcff", "\x00", "🎻"] * 400,
        [0, -1, 2**70, 1.5, 1e-300, 0.1 + 0.2, float("inf"), "3"] * 400,
        [True, None] * 1000,
        [[1, 2]] * 2000,
        ("a", "b"),
        {1: {"a": ["x"] * 3000}, "b": torch.ones(3)},
    ],
    ids=["text", "numbers", "flags", "nested", "tuple", "keys"],
)
def test_values_come_back_as_they_were(value):
    back = unpack(pack(value))
    assert repr(back) == repr(value) and type(back) is type(value)


@pytest.mark.parametrize(
    "packed", [torch.tensor([255, 254]), b"[1]", torch.tensor(list(b'{"a": 1}'), dtype=torch.uint8)]
)
def test_a_packed_list_that_is_none_is_damage_of_the_file(model, packed, tmp_path):
    content = model.content()
    content[checkpoint.KEY]["readers"]["song"]["ids"] = {PACKED: packed}
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(DamagedError, match=r"a\.ckpt: it is damaged"):
        Space.load(tmp_path / "a.ckpt")
