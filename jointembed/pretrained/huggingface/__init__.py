"""Encoders around models of Hugging Face transformers."""
