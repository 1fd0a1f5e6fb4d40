"""Multimodal embeddings: train one space over audio, images, text and categories, and search it.

Names are loaded when they are first used, so that a look-up in an index does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = {
    "adapters.scikit_learn": ["Embedder"],
    "data.table": ["TableData"],
    "encoders": ["CausalTransformer", "ConvNet", "EmbeddingBag", "Encoder", "GRU", "MLP", "TextTransformer"],
    "index.hits": ["Hit"],
    "index.index": ["Index"],
    "objectives": [
        "AllCandidates",
        "InBatch",
        "Loss",
        "Match",
        "NextItem",
        "NextSet",
        "Objective",
        "Regression",
        "Sampled",
        "Sigmoid",
        "Softmax",
    ],
    "pretrained.huggingface.encoder": ["PretrainedEncoder"],
    "ragged": ["Ragged"],
    "readers": [
        "BagOfWords",
        "Category",
        "HashedCross",
        "Image",
        "LogMel",
        "Numbers",
        "PianoRoll",
        "PiecewiseLinear",
        "Quantiles",
        "Reader",
        "SparseImage",
        "Subwords",
    ],
    "space.space": ["Space"],
    "training.callbacks": ["BestAndLast", "Evaluate"],
    "training.joint_embedding": ["JointEmbedding"],
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__version__ = "0.1.0"
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *_MODULE_OF]
