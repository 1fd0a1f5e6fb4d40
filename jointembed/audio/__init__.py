"""A sound file -> mono float32 samples at a given rate; its tags; killable worker processes that decode."""

from .decoding import Sound, decode, decoder_version, load, read
from .formats import Undecodable
from .resampling import SILENCE, Samples, find_start, resample, to_mono

__all__ = [
    "SILENCE",
    "Samples",
    "Sound",
    "Undecodable",
    "decode",
    "decoder_version",
    "find_start",
    "load",
    "read",
    "resample",
    "to_mono",
]
