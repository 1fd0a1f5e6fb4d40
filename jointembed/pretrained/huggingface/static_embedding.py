"""Static word vectors: a text is the mean of the vectors of its subwords, without a network."""

from __future__ import annotations

import sys

import torch

from ...encoders import EmbeddingBag
from ...errors import MismatchError, UsageError
from ...space.space import Space
from .folder import FETCH_AGAIN, STATIC_EMBEDDING, ModelFolder, load_weights
from .sentence_transformers import read_prompts_and_metric
from .tokenizer import load_tokenizer

WEIGHTS = ("embedding.weight", "embeddings")  # the name of the table in sentence-transformers, and in Model2Vec


def _convert(folder: ModelFolder) -> Space:
    """A space with the column `text`, and `query` if queries have a prompt of their own."""
    names = [name for name, _ in folder.modules]
    if names not in ([STATIC_EMBEDDING], [STATIC_EMBEDDING, "Normalize"]):
        wrong = f"the modules {', '.join(names)} are not supported"
        raise UsageError(
            folder.path / "modules.json", wrong, "adopt a model of StaticEmbedding, alone or with Normalize"
        )
    place = folder.path / folder.modules[0][1]
    weights = load_weights(place / "model.safetensors")
    table = next((weights[name] for name in WEIGHTS if name in weights and weights[name].ndim == 2), None)
    if table is None or len(weights) > 1:
        wrong = f"expected one table of word vectors, called {' or '.join(WEIGHTS)}"
        raise MismatchError(place / "model.safetensors", wrong, FETCH_AGAIN)
    prompts, metric = read_prompts_and_metric(folder)
    # Texts are never cut off: a long text costs no more than its subwords.
    reader = load_tokenizer(place, sys.maxsize, len(table), prompts=prompts, marks=False)
    if reader.last_id >= reader.size:
        raise MismatchError(place / "tokenizer.json", "the ids of its subwords are not consecutive", FETCH_AGAIN)
    encoder = EmbeddingBag(reader, table.shape[1], sparse=False)
    # Unit vectors have the same order by any of the metrics.
    metric = "cosine" if "Normalize" in names else metric
    space = Space(encoder.width, {"text": encoder}, columns={name: "text" for name in prompts}, metric=metric)
    space.build()
    with torch.no_grad():
        encoder.table.weight[:-1] = table[: reader.size].float()  # a table may have rows without a subword
        encoder.table.weight[-1] = 0
    return space


CONVERTERS = {STATIC_EMBEDDING: _convert}
