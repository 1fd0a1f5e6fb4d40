"""Encoders around networks that others trained."""
