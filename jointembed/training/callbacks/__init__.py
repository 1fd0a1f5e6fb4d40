"""Callbacks of the training, one in each file; a recipe lists those it adds under `trainer.callbacks`."""
