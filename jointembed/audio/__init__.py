"""A sound file -> mono float32 samples at a given rate; its tags; killable worker processes that decode."""

from .decoding import Sound, decode, decoder_version, load, read
from .formats import Undecodable
from .resampling import Samples, resample, to_mono

__all__ = ["Samples", "Sound", "Undecodable", "decode", "decoder_version", "load", "read", "resample", "to_mono"]
