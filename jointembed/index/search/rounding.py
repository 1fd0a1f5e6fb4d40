"""Bounds on the rounding error of float32 scores: the margin within which a search rules no vector out."""

from __future__ import annotations

import numpy as np

TINY = 1e-30  # added to squared norms, so that underflow in float32 never hides a vector

# OpenBLAS sometimes leaves the invalid-operation flag set although all inputs and outputs are finite (numpy issue
# 24067), and numpy would warn. Vectors and queries are known to be finite.
ignore_invalid = np.errstate(invalid="ignore")


def relative_error(dim: int) -> float:
    """Return a bound on the error of a float32 product of two vectors (D,), relative to the product of their norms.

    Twice the bound of Higham, Accuracy and Stability of Numerical Algorithms, section 3.1, which holds for every order
    of summation; the factor also covers the terms added to the product, and the rounding of the vectors.
    """
    return (dim + 4) * float(np.finfo(np.float32).eps)
