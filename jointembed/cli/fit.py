"""Train a model: fit -c RECIPE.yaml --data.table TABLE."""

from __future__ import annotations

import itertools
import shlex
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HELP = {
    "fit": (
        "Trains a model. With --resume auto it goes on from the newest intact checkpoint in the folder of the run "
        "(--trainer.default_root_dir), to the same weights as without the break, and begins a run in an empty folder; "
        "--ckpt_path FILE goes on from a certain checkpoint instead. --seeds 3 trains three times, into seed-0 to "
        "seed-2 in the folder of the run, evaluates each and writes the cards that `jointembed compare RUN OTHER` "
        'reads; --evaluate "--query audio --target caption --group artist" sets the options of its evaluation.'
    ),
    "predict": (
        "Writes the vectors of a table's rows into vectors.parquet in the folder of the run. With --proba it writes "
        "the likeliest labels of each row instead, with their probabilities, into probabilities.parquet: the best, or "
        "the K best with -k K. The probabilities are calibrated on the dev rows, if there are any; accuracy and "
        "expected calibration error are printed."
    ),
}


def fit(*words: str) -> None:
    """Train a model with LightningCLI; its options are the keys of a recipe."""
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    from ..analyze.figure import chosen_theme
    from ..training.signals import TrainingInterrupt, exit_on_signals
    from .run_report import report_run
    from .seeds import fit_seeds, take_options

    chosen_theme()  # that of the curves: a mistake is reported before the training, not after it
    options, seeds, evaluation = take_options(words)
    if seeds:
        fit_seeds(run_lightning("fit", options, train=False), options, seeds, evaluation)
        return
    try:
        with exit_on_signals():
            run = run_lightning("fit", words)
    except TrainingInterrupt as stop:
        if getattr(rank_zero_only, "rank", 0) == 0:
            saved = "nothing was saved" if stop.step is None else f"saved after step {stop.step:,}"
            print(f"jointembed: {stop.signal_name}: {saved}. To go on: {_resuming(words)}", file=sys.stderr)
        raise
    report_run(run.trainer, run.model, run.datamodule)


def _resuming(words: Sequence[str]) -> str:
    """The command that goes on with a run that these words have begun."""
    options = _split_options(words)
    for option in ("--resume", "--ckpt_path"):
        while option in options:
            place = options.index(option)
            del options[place : place + 2]
    return shlex.join(["jointembed", "fit", *options, "--resume", "auto"])


def run_lightning(name: str, words: Sequence[str], callbacks: Sequence[Any] = (), train: bool = True) -> Any:
    """Run `fit`, `validate`, `test` or `predict` of LightningCLI on `JointEmbedding` and `TableData`.

    Args:
        name: the subcommand.
        words: its options.
        callbacks: callbacks of the trainer besides those of the recipe.
        train: False only makes the objects.

    Returns:
        The LightningCLI, with `trainer`, `model` and `datamodule` after the run.
    """
    from .errors import explain_recipe_error, is_recipe_error
    from .recipe_file import read_text_as_text

    options, recipes = _resolve(name, words)
    if name != "fit" and "--ckpt_path" not in options and not {"-h", "--help"} & set(options):
        options += ["--ckpt_path", "best"]  # an untrained model has no metrics worth computing
    if "" not in sys.path:
        sys.path.insert(0, "")  # a recipe may name classes in the working directory
    warnings.filterwarnings("ignore", module="lightning")
    from jsonargparse import ArgumentError
    from lightning.pytorch.cli import LightningCLI

    from ..data.table import TableData
    from ..training.joint_embedding import JointEmbedding
    from ..training.loggers import hide_tips
    from ..training.trainer import Trainer

    hide_tips()
    read_text_as_text()

    class SubcommandCLI(LightningCLI):
        """LightningCLI without the parsers of the other subcommands, which take longer to make than to use."""

        @staticmethod
        def subcommands() -> dict[str, set[str]]:
            return {name: LightningCLI.subcommands()[name]}

    raising = {"exit_on_error": False}
    try:
        run = SubcommandCLI(
            JointEmbedding,
            TableData,
            args=[name, *options] if train else options,
            run=train,
            trainer_class=Trainer,
            # Those of the recipe are made by LightningCLI, and come to the trainer beside these.
            trainer_defaults={"callbacks": list(callbacks)} if callbacks else None,
            auto_configure_optimizers=False,
            save_config_kwargs={"overwrite": True},  # our callbacks refuse a folder that holds a run
            seed_everything_default=0,
            parser_kwargs={**raising, name: {**raising, **({"description": HELP[name]} if name in HELP else {})}},
        )
    except SystemExit as error:
        if error.code != 1:
            raise
        signal.signal(signal.SIGINT, signal.default_int_handler)  # Lightning ignores it when it exits at Ctrl-C
        raise KeyboardInterrupt from error
    except (ArgumentError, ValueError) as error:
        if isinstance(error, ValueError) and not is_recipe_error(error):
            raise
        raise explain_recipe_error(f"jointembed {name}", recipes, error) from error
    return run


def _split_options(words: Sequence[str]) -> list[str]:
    """The words, with those options as two words whose values are looked at here."""
    joined = ("--config=", "--ckpt_path=", "--resume=")
    return [part for word in words for part in (word.split("=", 1) if word.startswith(joined) else [word])]


def _resolve(name: str, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words with the files of packaged recipes and run folders in place of their names, and these recipes.

    Raises:
        UsageError: a recipe does not exist, or `--resume` stands where it cannot.
        DamagedError: the given checkpoint is damaged.
    """
    from ..errors import UsageError
    from ..files import check_regular
    from ..values import to_unicode
    from .recipe_file import check_recipe_file
    from .recipes import resolve

    options, recipes = _split_options(words), []
    for word in words:
        if to_unicode(word) != word:
            wrong = "it is not valid UTF-8, so the configuration of a run cannot hold it"
            raise UsageError(word, wrong, "rename the file or folder")
        check_regular(word.partition("=")[2] or word)  # the parser reads the files of some options, such as --model
    if "--resume" in options:
        place = options.index("--resume")
        if name != "fit":
            raise UsageError("--resume", f"jointembed {name} has no such option", "give --ckpt_path and a checkpoint")
        if options[place + 1 : place + 2] != ["auto"]:
            fix = "write --resume auto, or --ckpt_path FILE to go on from a certain checkpoint"
            raise UsageError(
                "--resume", f"its value must be auto, got {''.join(options[place + 1 : place + 2])!r}", fix
            )
        if "--ckpt_path" in options:
            fix = "write only --resume auto for the newest checkpoint, or only --ckpt_path FILE for a certain one"
            raise UsageError("--resume", "it cannot be used with --ckpt_path", fix)
        options[place] = "--ckpt_path"  # the trainer, which knows the folder of the run, finds the file
    for place, (option, value) in enumerate(itertools.pairwise(options), 1):
        if option in ("-c", "--config"):
            file = resolve(value)
            check_recipe_file(file)
            options[place] = str(file)
            recipes.append(options[place])
        elif option == "--ckpt_path" and (Path(value).exists() or value.endswith(".ckpt")) and value != "auto":
            from .. import files
            from ..space import checkpoint, model_folder

            file = files.checkpoint(value)
            content = checkpoint.read(file)  # Lightning would fail on a damaged file with a traceback
            if name == "fit" and "optimizer_states" not in content:
                wrong = "it holds a model without the state of its training, which cannot go on"
                raise UsageError(value, wrong, "begin a new run with it: `class_path: jointembed.from_checkpoint`")
            # It would read any file itself, before our own reader does.
            options[place] = str(file.parent if file.name == model_folder.CONFIG else file)
    return options, recipes
