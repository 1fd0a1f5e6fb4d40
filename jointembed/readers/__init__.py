"""Readers turn the cells of a table into arrays: all preprocessing that decides a vector stands here."""

from .category import Category
from .image import Image
from .log_mel import LogMel
from .numbers import Numbers
from .piano_roll import PianoRoll
from .piecewise_linear import PiecewiseLinear
from .quantiles import HashedCross, Quantiles
from .reader import Load, Reader
from .sparse_image import SparseImage
from .text import BagOfWords, Subwords

__all__ = [
    "Quantiles",
    "HashedCross",
    "Category",
    "Load",
    "LogMel",
    "Numbers",
    "Image",
    "PiecewiseLinear",
    "SparseImage",
    "Reader",
    "PianoRoll",
    "Subwords",
    "BagOfWords",
]
