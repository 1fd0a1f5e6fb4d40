"""Models of images: ViT, DINOv2, ConvNeXt, and the image towers of CLIP, SigLIP and SigLIP 2."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...encoders import to_float32
from ...errors import DamagedError, UsageError
from ...ragged import Ragged
from ...readers import Image
from ...space.space import Space
from ..batches import IMAGES_IN_BATCH, embed_in_batches
from .encoder import Architecture, PretrainedEncoder
from .folder import FETCH_AGAIN, ModelFolder
from .image_patches import ImagePatches, PooledPatches

# B images, P pieces, W width, H rows, W columns

# By the name of an image processor: whether a size of a single number is the shortest side, else both sides.
SHORTEST_SIDE = {
    "CLIPImageProcessor": True,
    "BitImageProcessor": True,
    "ConvNextImageProcessor": True,
    "SiglipImageProcessor": False,
    "ViTImageProcessor": False,
    "DeiTImageProcessor": False,
}
PATCHES = "Siglip2ImageProcessor"  # which keeps the aspect ratio of an image
POOLED_PATCHES = "Gemma4ImageProcessor"  # as well
PROCESSORS = {  # of a model whose settings do not name one
    "clip": "CLIPImageProcessor",
    "siglip": "SiglipImageProcessor",
    "siglip2": PATCHES,
    "embedding_gemma2": POOLED_PATCHES,
    "vit": "ViTImageProcessor",
    "dinov2": "BitImageProcessor",
    "dinov2_with_registers": "BitImageProcessor",
    "convnext": "ConvNextImageProcessor",
    "convnextv2": "ConvNextImageProcessor",
}
CROPS_BY_DEFAULT = ("CLIPImageProcessor", "BitImageProcessor", "DeiTImageProcessor")
FILTERS = dict(enumerate(["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]))  # as Pillow numbers them
OTHER_MODEL = "adopt a model whose images are resized to one size"
WARP_FROM = 384  # ConvNeXt: pixels of a side from which an image is warped, and not cropped


def _embed_projection(network: nn.Module, images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, W), unit vectors as `CLIPModel` returns them."""
    return F.normalize(to_float32(network(pixel_values=images).image_embeds), dim=-1)


def _embed_unit(network: nn.Module, images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, W), unit vectors as `SiglipModel` returns them."""
    return F.normalize(_embed_pooled(network, images), dim=-1)


def _embed_patches(network: nn.Module, images: Tensor) -> Tensor:
    """Images (B, P, ...) of `ImagePatches` -> (B, W), unit vectors as `Siglip2Model` returns them."""
    grids = images[:, 0, -2:].long()  # (B, 2)
    mask = torch.arange(images.shape[1], device=images.device) < grids.prod(1, keepdim=True)  # (B, P)
    out = network(pixel_values=images[..., :-2], pixel_attention_mask=mask.long(), spatial_shapes=grids)
    return F.normalize(to_float32(out.pooler_output), dim=-1)


def _embed_pooled(network: nn.Module, images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, W): the model's own pooling."""
    return to_float32(network(pixel_values=images).pooler_output)


def _embed_class_token(network: nn.Module, images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, W): the class token of the last layer, which a classifier reads."""
    return to_float32(network(pixel_values=images).last_hidden_state)[:, 0]


class PretrainedImageEncoder(PretrainedEncoder):
    """A network of transformers over images: ViT, DINOv2, ConvNeXt, or the image tower of CLIP, SigLIP or SigLIP 2.

    The vector of an image is that of the model: the projection of CLIP (Radford et al. 2021), the attention pooling of
    SigLIP (Zhai et al. 2023) and SigLIP 2 (Tschannen et al. 2025), the normalised class token of DINOv2 (Oquab et al.
    2023), the normalised mean over the places of ConvNeXt (Liu et al. 2022), and the class token of ViT (Dosovitskiy et
    al. 2021), which goes through the pooling layer as well if the model was trained with it (`vit_with_pooler`).

    Args:
        reader: prepares images as in the training of the network.
        architecture: `clip_vision_model`, `siglip_vision_model`, `siglip2_vision_model`, `vit`, `vit_with_pooler`,
            `dinov2`, `dinov2_with_registers`, `convnext` or `convnextv2`.
        config: its settings, as in `config.json` of transformers.
    """

    mean: Tensor
    std: Tensor

    architectures: ClassVar[dict[str, Architecture]] = {
        "clip_vision_model": Architecture(
            "clip", "CLIPVisionConfig", "CLIPVisionModelWithProjection", _embed_projection, "projection_dim"
        ),
        "siglip_vision_model": Architecture("siglip", "SiglipVisionConfig", "SiglipVisionModel", _embed_unit),
        "siglip2_vision_model": Architecture("siglip2", "Siglip2VisionConfig", "Siglip2VisionModel", _embed_patches),
        "vit": Architecture("vit", "ViTConfig", "ViTModel", _embed_class_token, options={"add_pooling_layer": False}),
        "vit_with_pooler": Architecture("vit", "ViTConfig", "ViTModel", _embed_pooled, "pooler_output_size"),
        "dinov2": Architecture("dinov2", "Dinov2Config", "Dinov2Model", _embed_pooled),
        "dinov2_with_registers": Architecture(
            "dinov2_with_registers", "Dinov2WithRegistersConfig", "Dinov2WithRegistersModel", _embed_pooled
        ),
        "convnext": Architecture("convnext", "ConvNextConfig", "ConvNextModel", _embed_pooled, "hidden_sizes"),
        "convnextv2": Architecture("convnextv2", "ConvNextV2Config", "ConvNextV2Model", _embed_pooled, "hidden_sizes"),
    }

    def build(self, dim: int) -> None:
        """Make the network, and the scale of its input."""
        super().build(dim)
        self.register_buffer(
            "mean", torch.tensor(self.reader.mean, dtype=torch.float32)
        )  # (3, 1, 1), or (S * S * 3 + 2,) of patches
        self.register_buffer("std", torch.tensor(self.reader.std, dtype=torch.float32))

    def pieces(self, x: Ragged) -> Tensor:
        """A vector for each image: (P, width)."""
        if not len(x.rows):
            return x.values.new_zeros(0, self.width)
        images = (x.values - self.mean) / self.std
        size = IMAGES_IN_BATCH.get(images.device.type, 4)
        return embed_in_batches(images, size, lambda batch: self.architecture.embed(self.network, batch))

    def embed_arrays(self, values: Tensor) -> Tensor:
        """Images (P, 3, H, W) -> (P, width)."""
        return self.architecture.embed(self.network, (values - self.mean) / self.std)


def make_image_reader(folder: ModelFolder) -> Image | ImagePatches:
    """The image reader of a model, with the settings of its image processor.

    Raises:
        UsageError: the folder has no settings of an image processor, or they ask for steps that are not supported.
        DamagedError: a setting is missing.
    """
    name = "preprocessor_config.json"
    if (folder.path / name).is_file():
        settings = folder.read_json(name)
    else:  # processors of transformers 5 write a single file
        name = "processor_config.json"
        fix = "save its image processor: AutoImageProcessor.from_pretrained(NAME).save_pretrained(FOLDER)"
        settings = folder.read_json(name, fix).get("image_processor") or {}
    kind = str(
        settings.get("image_processor_type")
        or settings.get("feature_extractor_type")  # in transformers 4
        or PROCESSORS[folder.model_type]
    )
    kind = kind.removesuffix("Fast").replace("FeatureExtractor", "ImageProcessor")
    own = PROCESSORS.get(folder.model_type)
    supported = [own] if own in (PATCHES, POOLED_PATCHES) else list(SHORTEST_SIDE)
    if kind not in supported:
        wrong = f"images prepared by {kind} are not supported"
        raise UsageError(folder.path / name, wrong, "adopt a model with one of " + ", ".join(supported))
    try:
        if kind == PATCHES:
            return ImagePatches(**_read_patches(settings))
        if kind == POOLED_PATCHES:
            return PooledPatches(**_read_pooled_patches(settings))
        return Image(**_read_processor(kind, settings))
    except KeyError as error:
        raise DamagedError(folder.path / name, f"it has no {error}", FETCH_AGAIN) from error
    except UsageError as error:
        raise UsageError(folder.path / name, error.problem, OTHER_MODEL) from error


def _read_processor(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The arguments of an Image for the settings of an image processor.

    Raises:
        KeyError: a setting is missing.
        UsageError: a setting is not supported.
    """
    resize = _read_size(settings["size"], SHORTEST_SIDE[kind])
    if not settings.get("do_resize", True) or settings.get("do_pad"):
        raise UsageError(kind, "its images are not resized, or are padded", OTHER_MODEL)
    if kind == "ConvNextImageProcessor":
        side = resize if isinstance(resize, int) else resize[0]
        crop = [side, side]
        resize = int(side / settings.get("crop_pct", 224 / 256)) if side < WARP_FROM else crop
    elif settings.get("do_center_crop", kind in CROPS_BY_DEFAULT):
        crop = _read_size(settings["crop_size"], False)
    elif isinstance(resize, list):
        crop = resize
    else:
        wrong = f"images are resized to a shortest side of {resize}, and not cropped to one size"
        raise UsageError(kind, wrong, OTHER_MODEL)
    return {"size": crop, "resize": resize, **_read_levels(settings)}


def _read_patches(settings: dict[str, Any]) -> dict[str, Any]:
    """The arguments of ImagePatches for the settings of an image processor; see `_read_processor`."""
    if not settings.get("do_resize", True):
        raise UsageError(PATCHES, "its images are not resized", OTHER_MODEL)
    size = {"patch_size": int(settings["patch_size"]), "max_patches": int(settings["max_num_patches"])}
    return {**size, **_read_levels(settings)}


def _read_pooled_patches(settings: dict[str, Any]) -> dict[str, Any]:
    """The arguments of PooledPatches for the settings of an image processor; see `_read_processor`."""
    levels = _read_levels(settings)
    if not settings.get("do_resize", True) or levels.pop("mean") != [0.0] * 3 or levels.pop("std") != [1.0] * 3:
        wrong = "its images are not resized, or are not given in 0 to 1"
        raise UsageError(POOLED_PATCHES, wrong, "adopt a model whose images are prepared as those of Gemma 4")
    pool_size = int(settings["pooling_kernel_size"])
    max_patches = int(settings["max_soft_tokens"]) * pool_size**2
    return {"patch_size": int(settings["patch_size"]), "max_patches": max_patches, "pool_size": pool_size, **levels}


def _read_levels(settings: dict[str, Any]) -> dict[str, Any]:
    """The filter, the mean and the standard deviation of an image reader.

    Raises:
        KeyError: a setting is missing.
    """
    # (x factor - mean) / std of levels x in 0 to 255, for pixels x / 255
    factor = settings.get("rescale_factor", 1 / 255) if settings.get("do_rescale", True) else 1
    normalizes = settings.get("do_normalize", True)
    scale = 1 if factor == 1 / 255 else factor * 255
    return {
        "resample": FILTERS.get(settings["resample"], str(settings["resample"])),
        "mean": [value / scale for value in (settings["image_mean"] if normalizes else [0.0] * 3)],
        "std": [value / scale for value in (settings["image_std"] if normalizes else [1.0] * 3)],
    }


def _read_size(size: Any, is_shortest_side: bool) -> Any:
    """Rows and columns, or the length of the shortest side."""
    if isinstance(size, int):
        return size if is_shortest_side else [size, size]
    if set(size) == {"shortest_edge"}:
        return int(size["shortest_edge"])
    if set(size) == {"height", "width"}:
        return [int(size["height"]), int(size["width"])]
    raise UsageError("size", f"images are resized to {size}, and so not to one size", OTHER_MODEL)


def _convert(folder: ModelFolder) -> Space:
    """A space with the column `image`."""
    name = folder.model_type
    if name == "vit" and any(key.endswith("pooler.dense.weight") for key in folder.weights):
        name = "vit_with_pooler"
    settings = PretrainedImageEncoder.architectures[name].complete_settings(folder.config)
    encoder = PretrainedImageEncoder(make_image_reader(folder), name, settings)
    space = Space(encoder.width, {"image": encoder})
    space.build()
    encoder.load_weights(folder.weights)
    return space


CONVERTERS = {name: _convert for name in ("vit", "dinov2", "dinov2_with_registers", "convnext", "convnextv2")}
