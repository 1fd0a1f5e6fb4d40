"""Metrics of retrieval and prediction, with bootstrap intervals and chance levels (no torch)."""
