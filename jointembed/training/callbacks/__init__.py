"""Callbacks of the training, a file for each.

A recipe may list `Evaluate`, `BestAndLast`, `EMA`, `HardNegativeBatches`, `ObjectiveWeights`, `Project` and
`SkipNonFinite` under `trainer.callbacks`, by these names, and any callback of Lightning by its import path;
LightningCLI builds them.
`Trainer` in `training/trainer.py` adds the others to every run.
"""
