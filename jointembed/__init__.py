"""Multimodal embeddings: train one space over audio, images, text and categories, and search it.

The public names are listed in `__init__.pyi`. They are loaded when they are first used, so that searching an index does
not wait for torch.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

_IMPORT = re.compile(r"^from \.([\w.]+) import (\w+)", re.MULTILINE)  # `ast` would take longer than all the rest
_MODULE_OF = {name: module for module, name in _IMPORT.findall(Path(__file__).with_suffix(".pyi").read_text("utf-8"))}

__version__ = "0.1.0"
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *_MODULE_OF]
