"""Low-rank adapters of the layers of an encoder, through peft; they are merged into the weights that are saved."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..arguments import CheckedArguments, Count, Dropout, Positive
from ..encoders import Encoder
from ..errors import MismatchError, UsageError, missing_extra
from .names import match_names

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Embedding)
ADAPTER = "default"  # what peft calls its first adapter


@dataclass
class LoRA(CheckedArguments):
    """Low-rank adapters (Hu et al. 2022): the product of two small matrices is trained, and added to frozen weights.

    Args:
        rank: of the product.
        alpha: it is multiplied by `alpha / rank`.
        dropout: share of the inputs of the adapters that are dropped, in training.
        targets: names of the layers, which may have wildcards, such as `["*.attention.*"]`: linear layers,
            convolutions and tables; all linear layers if not given.
    """

    rank: Count = 8
    alpha: Positive = 16.0
    dropout: Dropout = 0.0
    targets: list[str] | None = None


def add_adapters(encoder: Encoder, settings: LoRA) -> list[str]:
    """Add adapters to layers of an encoder in place; everything else in it is frozen.

    Returns:
        The names of these layers.

    Raises:
        UsageError: peft is not installed, no layer has such a name, or an adapter does not fit its layer.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise missing_extra("finetune", "peft") from error
    # This module uses the weights of its layers without calling them.
    attention = [name for name, module in encoder.named_modules() if isinstance(module, nn.MultiheadAttention)]
    layers = {
        name: module
        for name, module in encoder.named_modules()
        if isinstance(module, _LAYERS) and not name.startswith(tuple(f"{start}." for start in attention))
    }
    if settings.targets is None:
        names = [name for name, module in layers.items() if isinstance(module, nn.Linear)]
        if not names:
            raise UsageError("lora", "the encoder has no linear layer", "name its convolutions in `targets`")
    else:
        names = match_names("lora.targets", settings.targets, layers)
    # Its attributes must not make peft take the encoder for a whole model of transformers.
    container = nn.ModuleDict({"encoder": encoder})
    try:
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules="|".join(re.escape(f"encoder.{name}") for name in names),
        )
        inject_adapter_in_model(config, container)
    except ValueError as error:
        raise UsageError("lora", f"peft refuses it ({error})", "choose another rank, or other targets") from error
    return names


def merge_adapters(encoder: nn.Module, names: Sequence[str], state: dict[str, Any], prefix: str, aside: str) -> None:
    """Merge the adapters into the weights of a state dict, and put them aside for a resumed run.

    Args:
        encoder: with adapters.
        names: of the layers that have them.
        state: its state dict, changed in place.
        prefix: of the names of the encoder in it.
        aside: prefix of the adapters that are put aside.
    """
    for name in names:
        layer: Any = encoder.get_submodule(name)
        start = f"{prefix}{name}."
        for key in [key for key in state if key.startswith(start)]:
            value, part = state.pop(key), key.removeprefix(start)
            if not part.startswith("base_layer."):
                state[f"{aside}{name}.{part}"] = value
            elif part == "base_layer.weight":
                state[f"{start}weight"] = _merge(layer, value)
            else:
                state[start + part.removeprefix("base_layer.")] = value


def restore_adapters(encoder: nn.Module, names: Sequence[str], state: dict[str, Any], prefix: str, aside: str) -> None:
    """Undo `merge_adapters` in a state dict, for an encoder that has the weights from before the training.

    Raises:
        MismatchError: it has no adapters, or these are of other weights.
    """
    for name in names:
        layer: Any = encoder.get_submodule(name)
        start = f"{prefix}{name}."
        parts = [key.removeprefix(f"{aside}{name}.") for key in state if key.startswith(f"{aside}{name}.")]
        fix = "resume with the recipe and the files that it was trained with"
        if not parts:
            raise MismatchError("checkpoint", f"it has no adapters of the layer {name}", fix)
        with torch.no_grad():
            for part in parts:
                value = state[start + part] = state.pop(f"{aside}{name}.{part}")
                layer.get_parameter(part).copy_(value)
        weight = layer.get_base_layer().weight.detach()
        if not torch.allclose(_merge(layer, weight), state.pop(f"{start}weight").to(weight), rtol=1e-3, atol=1e-5):
            raise MismatchError("checkpoint", f"it began with other weights of the layer {name}", fix)
        state[f"{start}base_layer.weight"] = weight
        if f"{start}bias" in state:
            state[f"{start}base_layer.bias"] = state.pop(f"{start}bias")


@torch.no_grad()
def _merge(layer: Any, weight: Tensor) -> Tensor:
    delta: Tensor = layer.get_delta_weight(ADAPTER)
    return weight + delta.to(weight)
