"""How far off float32 may be: what the searches allow for before they rule a vector out."""

from __future__ import annotations

import numpy as np

TINY = 1e-30  # added to squared lengths: all that float32 loses because it is too small is nothing beside it


# OpenBLAS now and then leaves the flag of an invalid operation behind where all that comes in and goes out is finite
# (numpy's issue 24067), of which numpy would warn. Vectors and queries are known to be finite.
unflagged = np.errstate(invalid="ignore")


def share(dim: int) -> float:
    """How far a product of two vectors (D,) may be off, as a share of the product of their lengths.

    Twice the bound of Higham, Accuracy and Stability of Numerical Algorithms, section 3.1, whatever the order of the
    sum; with room for what is added to it, and for the rounding of the vectors themselves.
    """
    return (dim + 4) * float(np.finfo(np.float32).eps)
