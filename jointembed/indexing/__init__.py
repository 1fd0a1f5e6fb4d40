"""Joins a model and an index: from a table or a folder to vectors, from a query to a vector."""
