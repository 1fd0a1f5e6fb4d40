"""Trains a space with Lightning."""
