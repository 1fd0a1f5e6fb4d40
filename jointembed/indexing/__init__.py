"""What joins a model and an index: embedding tables and folders into it, and queries for it."""
