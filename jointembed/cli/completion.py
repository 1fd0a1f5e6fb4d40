"""Print what completes commands and options in bash, zsh or fish."""

from __future__ import annotations

import argparse
import typing
from collections.abc import Iterable
from typing import Any, Literal

from ..errors import missing_extra


def completion(shell: Literal["bash", "zsh", "fish"]) -> None:
    """Print what completes the commands and options of jointembed in a shell.

    For bash, write it into ~/.local/share/bash-completion/completions/jointembed.

    Args:
        shell: bash, zsh or fish.
    """
    try:
        import shtab
    except ImportError as error:
        raise missing_extra("completion", "shtab") from error

    print(shtab.complete(build_parser(shtab.FILE), shell))


def build_parser(complete_files: Any) -> argparse.ArgumentParser:
    """A parser of the whole command line, by the signatures of the commands and the options of LightningCLI.

    Args:
        complete_files: what marks an argument whose values are paths.
    """
    from . import help, parser

    whole = argparse.ArgumentParser("jointembed", description="Train one embedding space, and search it.")
    whole.add_argument("--version", action="store_true", help="print the version")
    commands = whole.add_subparsers()
    for name, summary in help.commands().items():
        function = parser.load(name)
        command = commands.add_parser(name, help=summary.replace("%", "%%"))
        if parser.takes_words(function):
            _add_lightning_options(command, complete_files)
            if name == "fit":
                command.add_argument("--seeds", help="the number of trainings")
                command.add_argument("--evaluate", help="the options of their evaluation")
            if name == "predict":
                command.add_argument("--proba", action="store_true", help="write the likeliest labels")
                command.add_argument("-k", help="the number of labels")
            continue
        for parameter in parser.read_parameters(function):
            choices = typing.get_args(parameter.kind) or None
            text = parameter.help.replace("%", "%%")
            if parameter.kind is bool:
                command.add_argument(parameter.flag, action="store_true", help=text)
                continue
            place = parameter.name if parameter.positional else parameter.flag
            nargs = None if not parameter.positional else "*" if parameter.repeated else "?"
            argument = command.add_argument(place, choices=choices, nargs=nargs, help=text)
            if parameter.kind is str:
                argument.complete = complete_files  # type: ignore[attr-defined]
    return whole


def _add_lightning_options(command: argparse.ArgumentParser, complete_files: Any) -> None:
    """Add the options of a trainer, a model and its data, as LightningCLI has them."""
    from lightning.pytorch.cli import LightningArgumentParser

    from ..data.table import TableData
    from ..training.joint_embedding import JointEmbedding
    from ..training.trainer import Trainer

    for flags in (["-c", "--config"], ["--ckpt_path"], ["--resume"]):
        command.add_argument(*flags).complete = complete_files  # type: ignore[attr-defined]
    options = LightningArgumentParser()
    for name, kind in {"trainer": Trainer, "model": JointEmbedding, "data": TableData}.items():
        options.add_lightning_class_args(kind, name)
    actions: Iterable[argparse.Action] = options._actions
    for action in actions:
        flags = [flag for flag in action.option_strings if flag.count(".") == 1 and flag.startswith("--")]
        if flags:
            command.add_argument(*flags, help=(action.help or "").replace("%", "%%").partition(". ")[0])
