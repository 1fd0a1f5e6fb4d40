"""From the words of a command line to a typed function, or to LightningCLI."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import Failure, Usage


def own(name: str, words: Sequence[str]) -> int:
    """Run the function of `commands/NAME.py` with the words of a command line."""
    from jsonargparse import ArgumentParser

    function: Callable[..., Any] = getattr(importlib.import_module(f".{name}", __package__), name)
    parser = ArgumentParser(prog=f"jointembed {name}", exit_on_error=False, description=function.__doc__)
    parser.add_function_arguments(function, as_positional=True, fail_untyped=True)
    words = ["--k" if word == "-k" else f"--k={word[2:]}" if word[:2] == "-k" and word[2:].isdigit() else word for word in words]
    settings = _parsed(lambda: parser.parse_args(words), f"jointembed {name}")
    function(**{key: value for key, value in vars(settings).items() if key != "config"})
    return 0


def _parsed(parse: Callable[[], Any], name: str) -> Any:
    """What `parse` gives; its complaint becomes one line."""
    from jsonargparse import ArgumentError

    try:
        return parse()
    except ArgumentError as error:
        cause: BaseException | None = error
        while cause is not None:  # a failure of ours may be wrapped in the parser's own
            if isinstance(cause, Failure):
                raise cause from error
            cause = cause.__cause__ or cause.__context__
        message = " ".join(str(error).split())
        raise Usage(name, message[:400] + ("..." if len(message) > 400 else ""), f"{name} --help lists what it takes") from error


def lightning(name: str, words: Sequence[str]) -> int:
    """Run `fit`, `validate`, `test` or `predict` of LightningCLI over `JointEmbedding` and `TableData`."""
    from .recipes import resolve

    words = list(words)
    for place, word in enumerate(words):
        if word in ("-c", "--config") and place + 1 < len(words):
            words[place + 1] = str(resolve(words[place + 1]))
        elif word.startswith("--config="):
            words[place] = f"--config={resolve(word.partition('=')[2])}"
    if "" not in sys.path:
        sys.path.insert(0, "")  # a recipe may name the user's own classes
    warnings.filterwarnings("ignore", module="lightning")
    from lightning.pytorch.cli import LightningCLI

    from ..learn.space import JointEmbedding
    from ..learn.table import TableData
    from ..learn.trainer import Trainer

    def start() -> Any:
        return LightningCLI(
            JointEmbedding,
            TableData,
            args=[name, *words],
            trainer_class=Trainer,
            auto_configure_optimizers=False,
            save_config_kwargs={"overwrite": True},  # the run folder itself refuses a second run
            seed_everything_default=0,
            parser_kwargs={"exit_on_error": False, **{word: {"exit_on_error": False} for word in ("fit", "validate", "test", "predict")}},
        )

    _parsed(start, f"jointembed {name}")
    return 0
