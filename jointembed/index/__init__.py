"""Stores vectors with their rows and searches them (NumPy and SQLite, no torch)."""
