"""Tables of rows as batches."""
