"""Storage of an index: all of its SQL."""
