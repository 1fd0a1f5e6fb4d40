"""Multimodal embeddings: train one space over audio, images, text and categories, and search it.

The public names are listed in `__init__.pyi`. They are loaded when they are first used, so that searching an index does
not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import Any

with open(f"{__file__}i", encoding="utf-8") as _stub:  # `re`, `pathlib` or `ast` would take longer than all the rest
    _IMPORTS = [line.split() for line in _stub if line.startswith("from .")]  # from .MODULE import NAME as NAME
_MODULE_OF = {name: module[1:] for _, module, _, name, *_ in _IMPORTS}

__version__ = "0.1.0"
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *_MODULE_OF]
