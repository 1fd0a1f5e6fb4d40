"""How far off float32 may be: what the searches allow for before they rule a vector out."""

from __future__ import annotations

import numpy as np

TINY = 1e-30  # added to squared lengths: all that float32 loses because it is too small is nothing beside it


def share(dim: int) -> float:
    """How far a product of two vectors (D,) may be off, as a share of the product of their lengths.

    Twice the bound of Higham, Accuracy and Stability of Numerical Algorithms, section 3.1, whatever the order of the
    sum; with room for what is added to it, and for the rounding of the vectors themselves.
    """
    return (dim + 4) * float(np.finfo(np.float32).eps)
