"""Readers turn the cells of a table into arrays; all preprocessing that decides a vector happens here."""

from .category import Category
from .image import Image
from .log_mel import LogMel
from .numbers import Numbers
from .piano_roll import PianoRoll
from .piecewise_linear import PiecewiseLinear
from .quantiles import HashedCross, Quantiles
from .reader import FileReader, Preprocess, Reader, Standardized, TokenReader
from .sparse_image import SparseImage
from .text import BagOfWords, Subwords

__all__ = [
    "BagOfWords",
    "Category",
    "FileReader",
    "HashedCross",
    "Image",
    "LogMel",
    "Numbers",
    "PianoRoll",
    "PiecewiseLinear",
    "Preprocess",
    "Quantiles",
    "Reader",
    "SparseImage",
    "Standardized",
    "Subwords",
    "TokenReader",
]
