"""Long lists of text and numbers as tensors: a pickle of a million strings takes seconds to write and to read."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch

PACKED = "packed list"  # the only key of a dictionary that stands for a list
MIN_LENGTH = 1024
PLAIN = {str, int, float}


def pack(value: Any) -> Any:
    """A value in whose dictionaries, nested or not, long lists of text and numbers are bytes of JSON in tensors."""
    if isinstance(value, dict):
        return {key: pack(part) for key, part in value.items()}
    if isinstance(value, list) and len(value) >= MIN_LENGTH and set(map(type, value)) <= PLAIN:
        text = json.dumps(value, separators=(",", ":")).encode()
        return {PACKED: torch.from_numpy(np.frombuffer(text, np.uint8).copy())}
    return value


def unpack(value: Any) -> Any:
    """The value that `pack` was given.

    Raises:
        ValueError: a tensor does not hold a list.
    """
    if not isinstance(value, dict):
        return value
    if value.keys() != {PACKED}:
        return {key: unpack(part) for key, part in value.items()}
    if not isinstance(value[PACKED], torch.Tensor):
        raise ValueError("a packed list is not a tensor")
    items = json.loads(value[PACKED].cpu().numpy().tobytes())
    if not isinstance(items, list):
        raise ValueError("a packed list holds another kind of value")
    return items
