"""Nearest-neighbor search over arrays: exact (`exact.py`), or approximate by a graph or an inverted file."""
