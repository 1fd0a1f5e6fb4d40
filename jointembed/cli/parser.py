"""From the words of a command line to a typed function, or to LightningCLI."""

from __future__ import annotations

import importlib
import inspect
import itertools
import logging
import re
import sys
import warnings
from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import UsageError, UserError
from .errors import SIGNED, complaint


def own(name: str, words: Sequence[str]) -> int:
    """Run the function of `commands/NAME.py` with the words of a command line."""
    from jsonargparse import ArgumentParser

    from .help import Manual

    function: Callable[..., Any] = getattr(importlib.import_module(f".{name}", __package__), name)
    command = f"jointembed {name}"
    about = (inspect.getdoc(function) or "").partition("\n\nArgs:")[0]
    parser = ArgumentParser(
        prog=command, exit_on_error=False, description=about, allow_abbrev=False, formatter_class=Manual
    )
    parser.add_function_arguments(function, as_positional=True, fail_untyped=True)
    listed = _spelt(function, words)
    known = inspect.signature(function).parameters
    settings = _parsed(lambda: parser.parse_args(listed), partial(complaint, command, known, words))
    for place in (name for name, one in known.items() if one.default is one.empty and settings[name] == ""):
        raise UsageError(place.upper(), "it is empty", f"{command} --help says what it is")
    function(**{key: value for key, value in vars(settings).items() if key != "config"})
    return 0


def _spelt(function: Callable[..., Any], words: Sequence[str]) -> list[str]:
    """The words as the parser wants them: -k5, -n 5, --json spelt out, and a bare first word where all have defaults.

    What may be given several times, such as `--trust`, it calls `--trust+`. What follows `--` is left as it is.
    """
    if "--" in words:
        at = list(words).index("--")
        return [*_spelt(function, words[:at]), *words[at:]]
    known = inspect.signature(function).parameters
    words = _joined(words, known)
    flags = {f"--{name}" for name, one in known.items() if isinstance(one.default, bool)}
    several = tuple(f"--{name}" for name, one in known.items() if "list[" in str(one.annotation))
    if "plus" in known:  # A +B -C
        signs = {"+": "--plus", "-": "--minus"}
        words = [f"{signs[word[0]]}={word[1:]}" if SIGNED.fullmatch(word) else word for word in words]
    made = [
        f"{word}=true"
        if word in flags
        else re.sub(r"^(--\w+)", r"\1+", word)
        if word.partition("=")[0] in several
        else word
        for word in words
    ]
    if made and not made[0].startswith("-") and all(one.default is not one.empty for one in known.values()):
        made[0] = f"--{next(iter(known))}={made[0]}"
    return made


def _joined(words: Sequence[str], known: Mapping[str, inspect.Parameter]) -> list[str]:
    """Each flag with its value as one word, since a value may begin like a flag: `--diverse -1`, `--exclude -A`."""
    flags = {f"--{name}" for name in known}
    valued = flags - {f"--{name}" for name, one in known.items() if isinstance(one.default, bool)}
    made: list[str] = []
    for word in words:
        flag = _long(word, known)
        if made and made[-1] in valued and (flag.partition("=")[0] not in flags or re.fullmatch(r"-\w\d+", word)):
            made[-1] += f"={word}"
        else:
            made.append(flag)
    return made


def _long(word: str, known: Container[str]) -> str:
    """A flag as the parser knows it: `-k5` as `--k=5`, `--max-windows=3` as `--max_windows=3`."""
    letter = re.fullmatch(r"-(\w)(?:=?([0-9]+))?", word)
    if letter and letter[1] in known:
        return f"--{letter[1]}={letter[2]}" if letter[2] else f"--{letter[1]}"
    flag, equals, value = word.partition("=")
    name = flag[2:].replace("-", "_")
    return f"--{name}{equals}{value}" if flag.startswith("--") and name in known else word


def _parsed(parse: Callable[[], Any], explain: Callable[[str], UsageError]) -> Any:
    """What `parse` gives; its complaint becomes one line."""
    from jsonargparse import ArgumentError

    try:
        return parse()
    except ArgumentError as error:
        cause: BaseException | None = error
        while cause is not None:  # a failure of ours may be wrapped in the parser's own
            if isinstance(cause, UserError):
                raise cause from error
            cause = cause.__cause__ or cause.__context__
        raise explain(" ".join(str(error).split())) from error


def lightning(name: str, words: Sequence[str]) -> int:
    """Run `fit`, `validate`, `test` or `predict` of LightningCLI over `JointEmbedding` and `TableData`."""
    from .recipes import resolve

    joined = ("--config=", "--ckpt_path=")
    made = [part for word in words for part in (word.split("=", 1) if word.startswith(joined) else [word])]
    recipes = []
    for place, (word, value) in enumerate(itertools.pairwise(made), 1):
        if word in ("-c", "--config"):
            made[place] = str(resolve(value))
            recipes.append(made[place])
        elif word == "--ckpt_path" and (Path(value).exists() or value.endswith(".ckpt")):
            from .. import files
            from ..space import checkpoint

            made[place] = str(files.checkpoint(value))
            checkpoint.read(Path(made[place]))  # Lightning would read it first, and show its own traceback
    if name != "fit" and "--ckpt_path" not in made and not {"-h", "--help"} & set(made):
        made += ["--ckpt_path", "best"]  # an untrained model has no figures worth the wait
    if "" not in sys.path:
        sys.path.insert(0, "")  # a recipe may name the user's own classes
    warnings.filterwarnings("ignore", module="lightning")
    from lightning.pytorch.cli import LightningCLI

    for part in ("lightning.pytorch", "lightning.fabric"):  # a failure is one line, and a tip is no news
        logging.getLogger(part).setLevel(logging.WARNING)
    from ..data.table import TableData
    from ..space.space import JointEmbedding
    from ..training.trainer import Trainer

    def start() -> Any:
        return LightningCLI(
            JointEmbedding,
            TableData,
            args=[name, *made],
            trainer_class=Trainer,
            auto_configure_optimizers=False,
            save_config_kwargs={"overwrite": True},  # the run folder itself refuses a second run
            seed_everything_default=0,
            parser_kwargs={
                "exit_on_error": False,
                **{word: {"exit_on_error": False} for word in ("fit", "validate", "test", "predict")},
            },
        )

    _parsed(start, partial(complaint, " ".join(["jointembed", name, *recipes]), None, ()))
    return 0
