"""A sound file -> mono float32 samples at a given rate; its tags; killable worker processes that decode."""

from .decoding import Sound, decode, decode_all, decoder_version, is_decoder, load, read, read_sound, to_wav
from .formats import Undecodable
from .resampling import SILENCE, Samples, find_start, resample, to_mono

__all__ = [
    "SILENCE",
    "Samples",
    "Sound",
    "Undecodable",
    "decode",
    "decode_all",
    "decoder_version",
    "find_start",
    "is_decoder",
    "load",
    "read",
    "read_sound",
    "resample",
    "to_mono",
    "to_wav",
]
