"""Songs, sounds, bitmaps, words and ids as vectors in one space, ranked by one score.

Names are loaded when they are first used, so that a look-up in an index does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .find.hits import Hit
    from .find.index import Index
    from .learn.adapt import Embedder
    from .learn.callbacks import Evaluate
    from .learn.encoders import Bag, Conv, Dense, Encoder, Transformer
    from .learn.objectives import Match, Next, NextSet, Objective, Regress
    from .learn.pools import History, Recurrent
    from .learn.pretrained import Pretrained
    from .learn.ragged import Ragged
    from .learn.readers import (
        Buckets,
        Cross,
        Ids,
        LogMel,
        Numbers,
        Picture,
        Piecewise,
        Pixels,
        Reader,
        Roll,
        Tokens,
        Words,
    )
    from .learn.space import JointEmbedding
    from .learn.table import TableData

_HOMES = {
    "find.hits": ["Hit"],
    "find.index": ["Index"],
    "learn.adapt": ["Embedder"],
    "learn.callbacks": ["Evaluate"],
    "learn.encoders": ["Bag", "Conv", "Dense", "Encoder", "Transformer"],
    "learn.objectives": ["Match", "Next", "NextSet", "Objective", "Regress"],
    "learn.pools": ["History", "Recurrent"],
    "learn.pretrained": ["Pretrained"],
    "learn.ragged": ["Ragged"],
    "learn.readers": [
        "Buckets",
        "Cross",
        "Ids",
        "LogMel",
        "Numbers",
        "Picture",
        "Piecewise",
        "Pixels",
        "Reader",
        "Roll",
        "Tokens",
        "Words",
    ],
    "learn.space": ["JointEmbedding"],
    "learn.table": ["TableData"],
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__version__ = "0.1.0"
__all__ = [
    "Bag",
    "Buckets",
    "Conv",
    "Cross",
    "Dense",
    "Embedder",
    "Encoder",
    "Evaluate",
    "History",
    "Hit",
    "Ids",
    "Index",
    "JointEmbedding",
    "LogMel",
    "Match",
    "Next",
    "NextSet",
    "Numbers",
    "Objective",
    "Picture",
    "Piecewise",
    "Pixels",
    "Pretrained",
    "Ragged",
    "Reader",
    "Recurrent",
    "Regress",
    "Roll",
    "TableData",
    "Tokens",
    "Transformer",
    "Words",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOME]
