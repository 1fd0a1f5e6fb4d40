"""Networks over images from torchvision: ResNet, ConvNeXt and ViT, with weights from a local file."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..encoders import Encoder, to_float32
from ..errors import DamagedError, MismatchError, UnsafeError, UsageError, did_you_mean
from ..ragged import Ragged
from ..readers import Image, Reader
from ..space.space import Space
from .batches import IMAGES_IN_BATCH, embed_in_batches
from .huggingface.folder import load_weights

# P pieces, W width

FAMILIES = ["resnet*", "convnext_*", "vit_*"]
CLASSIFIERS = ("fc", "classifier.2", "heads.head")  # the last layer of a network, by its family
HASH_DIGITS = 8  # of the SHA-256 of a published file, at the end of its name


class TorchvisionImage(Image):
    """An image as the presets of torchvision prepare it: like `Image`, but the start of a crop is rounded to even."""

    def crop_offset(self, excess: int) -> int:
        """The pixels that are cropped in front, of those that are too many along a side."""
        return round(excess / 2)


class TorchvisionEncoder(Encoder):
    """A network of torchvision without its classifier: ResNet, ConvNeXt or ViT.

    The vector of an image is what the classifier would read: the mean over the places of ResNet (He et al. 2016), the
    normalised mean of ConvNeXt (Liu et al. 2022), and the normalised class token of ViT (Dosovitskiy et al. 2021). The
    running statistics of BatchNorm stay as they are, also in training.

    Args:
        reader: prepares images as in the training of the network.
        architecture: the name of the network in torchvision, such as `resnet50`, `convnext_tiny` or `vit_b_16`.

    Raises:
        UsageError: the architecture is unknown.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, reader: Reader, architecture: str) -> None:
        _check_architecture(architecture)
        self._size = reader.shape[-1]
        with torch.device("meta"):
            network, classifier = _make_network(architecture, self._size)
        super().__init__(reader, int(network.get_submodule(classifier).in_features))
        self.architecture = architecture

    def build(self, dim: int) -> None:
        """Make the network without its classifier, and the scale of its input; the weights are loaded later."""
        self.network, classifier = _make_network(self.architecture, self._size)
        self.network.set_submodule(classifier, nn.Identity())
        self.register_buffer("mean", torch.tensor(self.reader.mean, dtype=torch.float32))  # (3, 1, 1)
        self.register_buffer("std", torch.tensor(self.reader.std, dtype=torch.float32))

    def train(self, mode: bool = True) -> TorchvisionEncoder:
        """Set the mode of all layers but BatchNorm, which always computes with its running statistics."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Load the weights of the network, under the names that torchvision saves them with.

        Raises:
            MismatchError: weights are missing or superfluous, or have another shape.
        """
        own = {name: value for name, value in weights.items() if not name.startswith(CLASSIFIERS)}
        try:
            report = self.network.load_state_dict(own, strict=False)
            wrong = [key for key in report.missing_keys if not key.endswith("num_batches_tracked")]
            wrong += report.unexpected_keys
        except RuntimeError as error:
            wrong = [str(error).strip().splitlines()[-1].strip()]
        if wrong:
            fix = f"give the weights of {self.architecture}"
            raise MismatchError("weights", f"they are not those of {self.architecture} ({wrong[0]})", fix)

    def pieces(self, x: Ragged) -> Tensor:
        """A vector for each image: (P, width)."""
        if not len(x.rows):
            return x.values.new_zeros(0, self.width)
        images = (x.values - self.mean) / self.std
        size = IMAGES_IN_BATCH.get(images.device.type, 4)
        return embed_in_batches(images, size, lambda batch: to_float32(self.network(batch)))

    def embed_arrays(self, values: Tensor) -> Tensor:
        """Images (P, 3, H, W) -> (P, width)."""
        return to_float32(self.network((values - self.mean) / self.std))


def convert_weights(name: str, path: Path) -> Space:
    """The space of a network of torchvision, with the column `image`.

    The images are prepared as by the preset that torchvision publishes with the weights, which are recognised by their
    SHA-256. Those of any other file are prepared by the preset of the network's default weights, or of those in `name`.

    Args:
        name: the network, such as `resnet50`, or the network and its published weights: `resnet50/IMAGENET1K_V1`.
        path: a file with its weights: a state dict (.pth) or .safetensors.

    Raises:
        UsageError: the network, its weights or the file do not exist.
        UnsafeError: the file holds more than tensors and plain data.
        DamagedError: the file cannot be read.
        MismatchError: the weights are not those of the network.
    """
    architecture, _, weights_name = name.partition("/")
    published = _list_weights(architecture)
    if weights_name and weights_name not in published:
        raise UsageError(name, f"{architecture} has no such weights", did_you_mean(weights_name, published))
    if not path.is_file():
        raise UsageError(path, "this file does not exist", "give a file with the weights, a .pth or .safetensors")
    weights = _read_weights(path)
    weights_name = weights_name or _recognize(path, published) or next(iter(published))
    preset = published[weights_name].transforms()
    (crop,), (resize,) = preset.crop_size, preset.resize_size
    reader = TorchvisionImage([crop, crop], resize, preset.interpolation.value, preset.mean, preset.std)
    encoder = TorchvisionEncoder(reader, architecture)
    space = Space(encoder.width, {"image": encoder})
    space.description = f"adopted from torchvision/{architecture} ({path.name}, images prepared as for {weights_name})"
    space.build()
    encoder.load_weights(weights)
    return space.eval()


def weights_url(name: str) -> str:
    """Where torchvision publishes the weights of a network; see `convert_weights` for the name and its errors."""
    architecture, _, weights_name = name.partition("/")
    published = _list_weights(architecture)
    return str(published.get(weights_name, next(iter(published.values()))).url)


def _check_architecture(name: str) -> None:
    from torchvision import models

    names = models.list_models(module=models, include=FAMILIES)
    if name not in names:
        raise UsageError(name, "this network is not supported", did_you_mean(name, names))


def _make_network(architecture: str, size: int) -> tuple[Any, str]:
    """A network with random weights for images of a size, and the name of its classifier."""
    from torchvision import models

    options = {"image_size": size} if architecture.startswith("vit_") else {}
    network = models.get_model(architecture, weights=None, **options)
    names = {name for name, _ in network.named_modules()}
    return network, next(name for name in CLASSIFIERS if name in names)


def _list_weights(architecture: str) -> dict[str, Any]:
    """The published weights of a network by their names, the default ones first."""
    from torchvision import models

    _check_architecture(architecture)
    published = models.get_model_weights(architecture)
    return {member.name: member for member in [published.DEFAULT, *published]}


def _recognize(path: Path, published: dict[str, Any]) -> str | None:
    """The name of the published weights that a file holds."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:HASH_DIGITS]
    return next((name for name, weights in published.items() if weights.url.endswith(f"-{digest}.pth")), None)


def _read_weights(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_weights(path)
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        fix = "save its state dict: torch.save(model.state_dict(), FILE)"
        raise UnsafeError(path, "it holds more than tensors and plain data, so it is not loaded", fix) from error
    except Exception as error:  # the reader of files before torch 1.6 raises anything
        raise DamagedError(path, "it is damaged, or holds no weights", "get the file from its maker again") from error
    for key in ("state_dict", "model"):  # where training scripts put it
        weights = weights.get(key, weights) if isinstance(weights, dict) else weights
    if not (isinstance(weights, dict) and weights and all(isinstance(value, Tensor) for value in weights.values())):
        raise MismatchError(path, "it holds no state dict", "save one: torch.save(model.state_dict(), FILE)")
    return weights
