"""Makes vectors: readers, encoders, objectives and the space that they train (torch)."""
