"""Writes a recipe for a table."""
