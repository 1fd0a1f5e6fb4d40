"""Callbacks of the training, a file for each; a recipe adds its own under `trainer.callbacks`."""
