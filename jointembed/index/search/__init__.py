"""Nearest-neighbor search over arrays: exact (`exact.py`) or approximate (`ivf.py`)."""
