"""Metrics of retrieval and prediction, with intervals and chance (no torch)."""
