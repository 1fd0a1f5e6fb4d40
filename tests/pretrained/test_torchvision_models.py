"""Networks of torchvision give the vectors that their classifier reads, with images prepared by their preset."""

import hashlib

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import save_file
from tiny_vision import photographs
from torchvision import models

from jointembed import Space
from jointembed.__main__ import main
from jointembed.errors import DamagedError, MismatchError, UnsafeError, UsageError
from jointembed.pretrained.torchvision_models import TorchvisionEncoder, TorchvisionImage, convert_weights


def random_network(name):
    """With running statistics away from where they begin."""
    torch.manual_seed(0)
    network = models.get_model(name, weights=None)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return network.eval()


def embed_with_torchvision(network, preset, paths):
    """What the last layer reads."""
    inputs = []
    layer = [module for module in network.modules() if isinstance(module, torch.nn.Linear)][-1]
    handle = layer.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    with torch.inference_mode():
        for path in paths:
            network(preset(PIL.Image.open(path).convert("RGB"))[None])
    handle.remove()
    return torch.cat(inputs).numpy()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return photographs(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def resnet(tmp_path_factory, one_thread):
    """A network and the file of its weights."""
    network = random_network("resnet18")
    path = tmp_path_factory.mktemp("resnet") / "weights.pth"
    torch.save(network.state_dict(), path)
    return network, path


@pytest.fixture(scope="module")
def space(resnet):
    return convert_weights("resnet18", resnet[1])


def test_pixels_equal_those_of_the_preset_to_the_bit(space, images):
    preset, encoder = models.ResNet18_Weights.DEFAULT.transforms(), space.encoder("image")
    for path in images:
        pixels = (torch.from_numpy(encoder.reader.preprocess(path)) - encoder.mean) / encoder.std
        assert torch.equal(pixels, preset(PIL.Image.open(path).convert("RGB"))), path.name


def test_vectors_equal_what_the_classifier_reads(space, resnet, images):
    expected = embed_with_torchvision(resnet[0], models.ResNet18_Weights.DEFAULT.transforms(), images)
    vectors = space.embed("image", images, normalize=False)
    assert vectors.shape == (len(images), 512)
    assert np.abs(vectors - expected).max() <= 1e-5 * np.abs(expected).max()
    assert np.abs(vectors[0] - vectors[1:]).max(1).min() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "convnext_tiny", "vit_b_32"])
def test_vectors_of_larger_networks_equal_what_the_classifier_reads(tmp_path, one_thread, images, name):
    network = random_network(name)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    space = convert_weights(name, tmp_path / "weights.safetensors")
    expected = embed_with_torchvision(network, models.get_model_weights(name).DEFAULT.transforms(), images[:3])
    vectors = space.embed("image", images[:3], normalize=False)
    assert np.abs(vectors - expected).max() <= 1e-5 * np.abs(expected).max()
    assert np.array_equal(space.embed("image", images[1:2], normalize=False)[0], vectors[1])


def test_vector_does_not_depend_on_its_batch_and_survives_a_reload(space, images, tmp_path):
    together = space.embed("image", images)
    assert np.array_equal(np.concatenate([space.embed("image", [path]) for path in images]), together)
    space.save(tmp_path / "a.ckpt")
    again = Space.load(tmp_path / "a.ckpt")
    assert again.fingerprint == space.fingerprint and np.array_equal(again.embed("image", images), together)
    rough = again.embed("image", images[:1], precision="bfloat16")
    assert (rough * together[:1]).sum(1).min() > 0.99


def test_training_leaves_the_running_statistics_as_they_are(resnet, images):
    space = convert_weights("resnet18", resnet[1]).train()
    before = space.embed("image", images[:2])
    statistics = {name: value.clone() for name, value in space.state_dict().items() if "running" in name}
    codes = space({"image": space.reader("image").encode(images[:2])})["image"]
    codes.z.square().sum().backward()
    assert statistics and all(torch.equal(space.state_dict()[name], value) for name, value in statistics.items())
    assert space.encoder("image").network.conv1.weight.grad.abs().sum() > 0
    assert np.array_equal(space.embed("image", images[:2]), before)


def test_published_weights_select_their_preset(tmp_path, monkeypatch):
    """A file is recognised by its SHA-256, which begins with the digits at the end of its published name."""
    torch.save(models.get_model("resnet50", weights=None).state_dict(), tmp_path / "a.pth")
    assert convert_weights("resnet50", tmp_path / "a.pth").reader("image").resize == 232
    first = convert_weights("resnet50/IMAGENET1K_V1", tmp_path / "a.pth")
    assert first.reader("image").resize == 256 and "prepared as for IMAGENET1K_V1" in first.description
    digest = hashlib.sha256((tmp_path / "a.pth").read_bytes()).hexdigest()[:8]
    published = models.ResNet50_Weights.IMAGENET1K_V1
    monkeypatch.setattr(published.value, "url", f"https://example.org/resnet50-{digest}.pth")
    assert convert_weights("resnet50", tmp_path / "a.pth").reader("image").resize == 256


@pytest.mark.parametrize("excess", range(6))
def test_crop_starts_where_that_of_torchvision_starts(excess):
    from torchvision.transforms import functional

    array = np.random.default_rng(0).integers(0, 256, (8, 8 + excess, 3), np.uint8)
    reader = TorchvisionImage([8, 8], resize=8, resample="bilinear")
    expected = np.asarray(functional.center_crop(PIL.Image.fromarray(array), [8, 8]))
    assert np.array_equal(reader.preprocess(array), expected.transpose(2, 0, 1) / np.float32(255))


def test_networks_of_every_family_have_their_classifier_removed():
    for name, width in {"resnet50": 2048, "convnext_tiny": 768, "vit_b_32": 768}.items():
        assert TorchvisionEncoder(TorchvisionImage([224, 224]), name).width == width


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('it ran')",))


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        ({"a": torch.zeros(2)}, MismatchError, "not those of resnet18"),
        ({}, MismatchError, "no state dict"),
        ([1], MismatchError, "no state dict"),
        (Evil(), UnsafeError, "not loaded"),
        (torch.nn.Linear(2, 2), UnsafeError, r"save its state dict"),
        (b"text", DamagedError, "damaged"),
        (None, UsageError, "does not exist"),
    ],
)
def test_files_without_the_weights_are_refused(tmp_path, content, kind, words):
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(kind, match=words) as error:
        convert_weights("resnet18", path)
    assert "\n" not in str(error.value) and "Fix: " in str(error.value)


def test_weights_inside_the_checkpoint_of_a_training_script_are_found(resnet, space, tmp_path):
    torch.save({"state_dict": resnet[0].state_dict(), "epoch": 3}, tmp_path / "run.pth")
    assert convert_weights("resnet18", tmp_path / "run.pth").fingerprint == space.fingerprint


def test_weights_of_another_network_are_refused(resnet):
    with pytest.raises(MismatchError, match="not those of resnet34"):
        convert_weights("resnet34", resnet[1])


def test_command_adopts_a_network_and_names_what_is_missing(resnet, tmp_path, capsys):
    def refused(*words):
        assert main(["adopt", *words]) in (2, 4)
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    model = str(tmp_path / "resnet.ckpt")
    assert "download https://" in refused("torchvision/resnet18", model)
    assert "did you mean resnet18" in refused("torchvision/resnet81", model, "--from", str(resnet[1]))
    assert "no such weights" in refused("torchvision/resnet18/IMAGENET1K_V9", model, "--from", str(resnet[1]))
    assert "applies only" in refused(str(tmp_path), model, "--from", str(resnet[1]))
    assert main(["adopt", "torchvision/resnet18", model, "--from", str(resnet[1])]) == 0
    out = capsys.readouterr().out
    assert "adopted from torchvision/resnet18 (weights.pth, images prepared as for IMAGENET1K_V1)" in out
    assert "image, 512 dimensions, cosine" in out
