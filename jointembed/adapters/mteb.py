"""A trained model as an encoder of mteb, the Massive Text Embedding Benchmark, with its tasks of text, sound and image.

`mteb.evaluate(MtebEncoder("RUN"), tasks=mteb.get_tasks(["Clotho"]))` evaluates a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction
from mteb.types import PromptType

from ..errors import UsageError
from ..space.score import score
from ..space.space import Space
from .modalities import find_columns

_SIMILARITIES = {
    "cosine": ScoringFunction.COSINE,
    "dot": ScoringFunction.DOT_PRODUCT,
    "euclidean": ScoringFunction.EUCLIDEAN,
}


class MtebEncoder(AbsEncoder):  # type: ignore[misc]
    """A trained, frozen model in mteb's tasks.

    Texts of queries are embedded as cells of the column `query` if the model has one, as adopted models of
    sentence-transformers with prompts do. An item of several modalities has the mean of their unit vectors.

    Args:
        model_name: a checkpoint, a run folder or an exported model.
        revision: of the model, for mteb's results.
        device: what computes; the CPU if not given.
        columns: `text`, `audio`, `image` with their columns; see `find_columns`.
        prompts: by the name or the type of a task, or by `query` and `document`, what is put before each text.
        trust: packages whose encoders and readers the model may import.

    Raises:
        UsageError: the model or a column does not exist.
    """

    def __init__(
        self,
        model_name: str | Path,
        revision: str | None = None,
        *,
        device: str | None = None,
        columns: Mapping[str, str] | None = None,
        prompts: Mapping[str, str] | None = None,
        trust: Sequence[str] = (),
        **_: Any,
    ) -> None:
        self.model = Space.load(model_name, trust).to(device or "cpu")
        self.columns = find_columns(self.model, columns)
        self.prompts_dict = dict(prompts or {})
        self.name = f"jointembed/{Path(model_name).name}"
        self.mteb_model_meta = ModelMeta.create_empty({
            "name": self.name,
            "revision": revision or self.model.fingerprint,
            "embed_dim": self.model.dim,
            "framework": ["PyTorch"],
            "modalities": list(self.columns),
            "similarity_fn_name": _SIMILARITIES[self.model.metric],
            "use_instructions": bool(prompts),
        })  # fmt: skip

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        prompt_type: PromptType | None = None,
        **_: Any,
    ) -> torch.Tensor:
        """The vectors (N, D) of the items of some batches.

        Args:
            inputs: batches, as lists of N items for each modality.
            task_metadata: of the task, which decides the prompt.
            prompt_type: whether the items are queries or documents.

        Raises:
            UsageError: the model reads none of the modalities.
        """
        prompt = self._find_prompt(task_metadata, prompt_type)
        return torch.cat([self._embed(batch, prompt, prompt_type) for batch in inputs])

    def _find_prompt(self, task_metadata: Any, prompt_type: PromptType | None) -> str:
        prompts, type_name = self.prompts_dict or {}, prompt_type.value if prompt_type else ""
        return next((prompts[key] for key in (task_metadata.name, task_metadata.type, type_name) if key in prompts), "")

    def _embed(self, batch: Mapping[str, Any], prompt: str, prompt_type: PromptType | None) -> torch.Tensor:
        modalities = [modality for modality in self.columns if modality in batch]
        if not modalities:
            wrong = f"it reads {', '.join(self.columns) or 'nothing'}, and the task has {', '.join(batch)}"
            raise UsageError(self.name, wrong, "choose tasks of what it reads")
        parts = []
        for modality in modalities:
            column, cells = self.columns[modality], list(batch[modality])
            if modality == "text":
                cells = [prompt + text for text in cells]
                if prompt_type == PromptType.query and "query" in self.model.columns:
                    column = "query"
            parts.append(self.model.embed(column, cells))
        if len(parts) == 1:
            return torch.from_numpy(parts[0])
        lengths = [np.linalg.norm(part, axis=1, keepdims=True) for part in parts]
        units = [part / np.maximum(length, 1e-12) for part, length in zip(parts, lengths, strict=True)]
        return torch.from_numpy(np.mean(units, 0))

    def similarity(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """The scores (N, M) of vectors (N, D) with vectors (M, D), by the metric of the model."""
        first, second = map(torch.as_tensor, (embeddings1, embeddings2))
        return score(first.view(-1, first.shape[-1]), second.view(-1, second.shape[-1]), self.model.metric)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """The scores (N,) of vectors (N, D) with the vector in the same place of (N, D)."""
        first, second = map(torch.as_tensor, (embeddings1, embeddings2))
        return score(first[:, None], second[:, None], self.model.metric)[:, 0, 0]
