"""Composes, renders and captions a small catalogue of songs: the data that `jointembed demo` brings along."""
