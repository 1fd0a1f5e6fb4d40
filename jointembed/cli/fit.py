"""Train a model: fit -c RECIPE.yaml --data.table TABLE."""

from __future__ import annotations

import itertools
import logging
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def fit(*words: str) -> None:
    """Train a model with LightningCLI; its options are the keys of a recipe."""
    run_lightning("fit", words)


def run_lightning(name: str, words: Sequence[str], callbacks: Sequence[Any] = ()) -> None:
    """Run `fit`, `validate`, `test` or `predict` of LightningCLI on `JointEmbedding` and `TableData`.

    Args:
        name: the subcommand.
        words: its options.
        callbacks: callbacks of the trainer besides those of the recipe.
    """
    from .errors import explain_recipe_error

    options, recipes = _resolve(words)
    if name != "fit" and "--ckpt_path" not in options and not {"-h", "--help"} & set(options):
        options += ["--ckpt_path", "best"]  # an untrained model has no metrics worth computing
    if "" not in sys.path:
        sys.path.insert(0, "")  # a recipe may name classes in the working directory
    warnings.filterwarnings("ignore", module="lightning")
    from jsonargparse import ArgumentError
    from lightning.pytorch.cli import LightningCLI

    for package in ("lightning.pytorch", "lightning.fabric"):  # tips and device listings are noise
        logging.getLogger(package).setLevel(logging.WARNING)
    from ..data.table import TableData
    from ..training.joint_embedding import JointEmbedding
    from ..training.trainer import Trainer

    raising = {"exit_on_error": False}
    try:
        LightningCLI(
            JointEmbedding,
            TableData,
            args=[name, *options],
            trainer_class=Trainer,
            # Those of the recipe are made by LightningCLI, and come to the trainer beside these.
            trainer_defaults={"callbacks": list(callbacks)} if callbacks else None,
            auto_configure_optimizers=False,
            save_config_kwargs={"overwrite": True},  # our callbacks refuse a folder that holds a run
            seed_everything_default=0,
            parser_kwargs={**raising, **dict.fromkeys(("fit", "validate", "test", "predict"), raising)},
        )
    except SystemExit as error:
        if error.code != 1:
            raise
        signal.signal(signal.SIGINT, signal.default_int_handler)  # Lightning ignores it when it exits at Ctrl-C
        raise KeyboardInterrupt from error
    except ArgumentError as error:
        raise explain_recipe_error(f"jointembed {name}", recipes, error) from error


def _resolve(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words with the files of packaged recipes and run folders in place of their names, and these recipes."""
    from .recipes import resolve

    joined = ("--config=", "--ckpt_path=")
    options = [part for word in words for part in (word.split("=", 1) if word.startswith(joined) else [word])]
    recipes = []
    for place, (option, value) in enumerate(itertools.pairwise(options), 1):
        if option in ("-c", "--config"):
            options[place] = str(resolve(value))
            recipes.append(options[place])
        elif option == "--ckpt_path" and (Path(value).exists() or value.endswith(".ckpt")):
            from .. import files
            from ..space import checkpoint

            options[place] = str(files.checkpoint(value))
            checkpoint.read(Path(options[place]))  # Lightning would fail on a damaged file with a traceback
    return options, recipes
