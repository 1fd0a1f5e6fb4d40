"""Approximate scores of many queries in bfloat16, several times faster where the processor multiplies it.

numpy cannot, so the caller passes torch. The results are the same.

Letters: N rows, D dimension, B queries of a block, C rows of a chunk, G groups of rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import Float32s, Queries
from .memmap import iter_slices
from .rounding import TINY, relative_error
from .vectors import Vectors

_MAX_RELATIVE_ROUNDING = 2.0**-8  # by which rounding to bfloat16 changes a number


class BFloat16Vectors:
    """Vectors rounded to bfloat16, in half of their memory.

    Args:
        vectors: not with the metric euclidean, where the rounding of long vectors would hide short distances.
        torch: the module.
    """

    def __init__(self, vectors: Vectors, torch: Any) -> None:
        self.torch = torch
        self.values = torch.empty(vectors.values.shape, dtype=torch.bfloat16)
        self.max_rounding_error = self.max_norm = TINY**0.5  # norms of rounding errors, and of vectors
        for rows in iter_slices(vectors.values):
            values = np.array(vectors.values[rows])
            self.values[rows] = torch.from_numpy(values)
            lost = np.square(values - self.values[rows].float().numpy()).sum(1).max()
            self.max_rounding_error = max(self.max_rounding_error, float(np.sqrt(lost)))
            self.max_norm = max(self.max_norm, float(np.sqrt(np.square(values).sum(1).max())))

    def __len__(self) -> int:
        return len(self.values)

    def cast_queries(self, queries: Queries) -> tuple[Any, Float32s]:
        """Return queries (B, D) as (D, B) for `approx_scores`, and the largest error (B,) of their scores."""
        cast = self.torch.from_numpy(queries.T.copy()).to(self.torch.bfloat16)
        lost = queries - cast.double().numpy().T
        norms, lost_norms = (np.sqrt(np.square(array).sum(1) + TINY) for array in (queries, lost))
        inputs = norms * self.max_rounding_error + lost_norms * (self.max_norm + self.max_rounding_error)
        products = (_MAX_RELATIVE_ROUNDING + relative_error(queries.shape[1])) * norms * self.max_norm
        return cast, np.asarray(1.01 * (inputs + products), np.float32)

    def approx_scores(self, rows: slice, queries: Any, group: int) -> tuple[Float32s, Any]:
        """Return the maxima (G, B) of strided groups of a chunk of rows, and the scores (C, B) as a torch tensor."""
        scores = self.values[rows] @ queries
        count = len(scores) // group
        return scores[: count * group].view(group, count, scores.shape[1]).amax(0).float().numpy(), scores


def is_faster(torch: Any) -> bool:
    """Return whether the processor multiplies bfloat16 in hardware."""
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
