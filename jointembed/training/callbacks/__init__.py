"""Callbacks of the training, a file for each.

`Trainer` in `training/trainer.py` adds those of every run. LightningCLI builds those that a recipe lists under
`trainer.callbacks`.
"""
