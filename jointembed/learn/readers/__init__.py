"""Readers turn the cells of a table into arrays: all preprocessing that decides a vector stands here."""

from .audio import LogMel
from .buckets import Buckets, Cross
from .ids import Ids
from .numbers import Numbers
from .picture import Picture
from .piecewise import Piecewise
from .pixels import Pixels
from .reader import Load, Reader
from .roll import Roll
from .text import Tokens, Words

__all__ = [
    "Buckets",
    "Cross",
    "Ids",
    "Load",
    "LogMel",
    "Numbers",
    "Picture",
    "Piecewise",
    "Pixels",
    "Reader",
    "Roll",
    "Tokens",
    "Words",
]
