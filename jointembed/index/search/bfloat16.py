"""Rough scores of many queries in bfloat16, which is several times faster where the processor multiplies it.

numpy cannot; torch can. It takes seconds to load, so it is used only where whoever asks has loaded it anyway.

Letters: N rows, D dimension, B queries of a block, C rows of a chunk, G groups of rows.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from .mapped import passing
from .rounding import TINY, share

Singles = npt.NDArray[np.float32]

_ROUNDED = 2.0**-8  # the most by which rounding to bfloat16 changes a number, as a share of it


class BFloat16Vectors:
    """Vectors rounded to bfloat16, half as large as they are.

    Args:
        values: (N, D) float32.
        torch: the module.
    """

    def __init__(self, values: Singles, torch: Any) -> None:
        self.torch = torch
        self.values = torch.empty(values.shape, dtype=torch.bfloat16)
        self.lost = self.longest = (
            TINY**0.5
        )  # the greatest length of what rounding takes from a vector, and of a vector
        for rows in passing(values):
            part = np.array(values[rows])
            self.values[rows] = torch.from_numpy(part)
            lost = np.square(part - self.values[rows].float().numpy()).sum(1).max()
            self.lost = max(self.lost, float(np.sqrt(lost)))
            self.longest = max(self.longest, float(np.sqrt(np.square(part).sum(1).max())))

    def rounded(self, queries: npt.NDArray[np.float64]) -> tuple[Any, Singles]:
        """Queries (B, D) as (D, B) for `chunk`, and how far their rough scores may be from the true ones (B,)."""
        asked = self.torch.from_numpy(queries.T.copy()).to(self.torch.bfloat16)
        near = asked.double().numpy().T
        lengths, lost = (np.sqrt(np.square(one).sum(1) + TINY) for one in (queries, queries - near))
        inputs = lengths * self.lost + lost * (self.longest + self.lost)
        products = (_ROUNDED + share(queries.shape[1])) * lengths * self.longest
        return asked, np.asarray(1.01 * (inputs + products), np.float32)

    def chunk(self, rows: slice, queries: Any, group: int) -> tuple[Singles, Any]:
        """Rough scores of some rows: the best (G, B) of groups of rows, and all of them (C, B), still torch's."""
        scores = self.values[rows] @ queries
        count = len(scores) // group
        return scores[: count * group].view(group, count, scores.shape[1]).amax(0).float().numpy(), scores


def made(values: Singles, metric: str) -> BFloat16Vectors | None:
    """The vectors in bfloat16, where torch is loaded and the processor is fast so; None elsewhere.

    Nor with the metric euclidean, where the rounding of long vectors would hide short distances.
    """
    torch = sys.modules.get("torch")
    if torch is None or metric == "euclidean":
        return None
    able: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return BFloat16Vectors(values, torch) if able.get("avx512_bf16") or able.get("amx_bf16") else None
