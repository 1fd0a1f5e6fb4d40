"""Tiny models of images with random weights, as `save_pretrained` writes them, and what transformers gives."""

import importlib

import numpy as np
import PIL.Image
import torch
import transformers
from tiny_models import shaken, words

TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
PATCHES = TOWER | {"image_size": 16, "patch_size": 4}
TEXT = TOWER | {"vocab_size": 300, "max_position_embeddings": 24}
STAGES = {"hidden_sizes": [4, 8, 12, 16], "depths": [1, 1, 1, 1]}
CROPPED = {"size": {"shortest_edge": 18}, "crop_size": {"height": 16, "width": 16}}
KINDS_OF_IMAGE_MODEL = {
    "clip": ("CLIPModel", "clip", CROPPED),
    "siglip": ("SiglipModel", "siglip", {"size": {"height": 16, "width": 16}}),
    "vit": ("ViTForImageClassification", "vit", {"size": {"height": 16, "width": 16}}),
    "vit_with_pooler": ("ViTModel", "vit", {"size": {"height": 16, "width": 16}}),
    "dinov2": ("Dinov2ForImageClassification", "bit", CROPPED),
    "dinov2_with_registers": ("Dinov2WithRegistersModel", "bit", CROPPED),
    "convnext": ("ConvNextForImageClassification", "convnext", {"size": {"shortest_edge": 32}}),
    "convnextv2": ("ConvNextV2Model", "convnext", {"size": {"shortest_edge": 32}}),
}
PROCESSORS = {"clip": "CLIP", "siglip": "Siglip", "vit": "ViT", "bit": "Bit", "convnext": "ConvNext"}


def config(name):
    """The configuration of a tiny model."""
    if name == "clip":
        text = TEXT | {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
        return transformers.CLIPConfig(text_config=text, vision_config=PATCHES, projection_dim=24)
    if name == "siglip":
        return transformers.SiglipConfig(text_config=TEXT | {"pad_token_id": 1}, vision_config=PATCHES)
    if name.startswith("vit"):
        return transformers.ViTConfig(**PATCHES)
    if name.startswith("dinov2"):
        settings = {key: value for key, value in PATCHES.items() if key != "intermediate_size"}
        kind = transformers.Dinov2Config if name == "dinov2" else transformers.Dinov2WithRegistersConfig
        return kind(**settings | {"image_size": 28})
    kind = transformers.ConvNextConfig if name == "convnext" else transformers.ConvNextV2Config
    return kind(**STAGES, image_size=32)


def make_image_model(name, folder):
    """Write a tiny model; transformers' own objects: the model, the processor and the tokenizer."""
    class_name, module, settings = KINDS_OF_IMAGE_MODEL[name]
    model = shaken(getattr(transformers, class_name)(config(name)))
    model.save_pretrained(folder)
    # Those that resize tensors differ from Pillow by a grey level.
    file = importlib.import_module(f"transformers.models.{module}.image_processing_pil_{module}")
    processor = getattr(file, PROCESSORS[module] + "ImageProcessorPil")(**settings)
    processor.save_pretrained(folder)
    return model, processor, words(folder) if name in ("clip", "siglip") else None


def embed_with_transformers(name, model, pixels):
    """The vectors of images by transformers, as its documentation reads them."""
    with torch.inference_mode():
        if name in ("clip", "siglip"):
            features = model.get_image_features(pixel_values=pixels)
            return getattr(features, "pooler_output", features).numpy()
        out = getattr(model, model.base_model_prefix, model)(pixel_values=pixels)
        return (out.last_hidden_state[:, 0] if name == "vit" else out.pooler_output).numpy()


def photographs(folder):
    """Image files of several sizes and formats, of random blocks of colours."""
    rng = np.random.default_rng(0)
    paths = []
    for number, (rows, columns) in enumerate([(5, 7), (4, 4), (9, 4), (3, 8), (1, 1), (12, 5)]):
        blocks = rng.integers(0, 256, (rows, columns, 3), np.uint8)
        image = PIL.Image.fromarray(blocks.repeat(7, 0).repeat(7, 1))
        paths.append(folder / f"{number}.{'jpg' if number % 2 else 'png'}")
        image.save(paths[-1])
    return paths
