"""Failures as one line: those of this package, of the system, and of the parser of recipes."""

from __future__ import annotations

import ast
import re
import sys
import sysconfig
import traceback
from pathlib import Path

from ..errors import CodeError, UsageError, UserError, did_you_mean, from_oserror

_KEY = re.compile(r'Parser key "([\w.]+)": ')
_CHOICES = re.compile(r"typing\.Literal(\[[^\]]*\])")
_VALUE = re.compile(r".*(?:Got|Given) value: (.*)")
_OWN = re.compile(r"error\[E-\w+\]: (\S.*?): (.*?)\. Fix: (.*?)(?= - Expected | - Not a | Given value type|$)")
_REQUIRED = re.compile(
    r"Problem with given class_path '([\w.]+)': the following arguments are required: ([\w, ]+?)(?= -|$)"
)
_SIGNS = {"trainer.val_check_interval": "`val_check_interval`", "seed_everything": "is not in bounds, numpy accepts"}
_REFUSED = re.compile(r"Does not validate against any of the Union subtypes Subtypes: (.*?) Errors: - (.*?)\.? - ")
_OPTION = re.compile(r"Problem with given class_path '([\w.]+)': Option '(\w+)' is not accepted")
_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false"}
MAX_MESSAGE_CHARACTERS = 400


def report(error: Exception) -> int:
    """Print a failure on standard error and return its exit code."""
    failure = error if isinstance(error, UserError) else find_own_code(error)
    if failure is None and isinstance(error, OSError):
        failure = from_oserror(error)
    if failure is not None:
        line, code = f"{failure}", failure.code
    else:
        wrong = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        line, code = f"error[E-INTERNAL]: {wrong}. Fix: run it again with --debug and report the traceback", 1
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.text import Text

        text = Text("jointembed: ").append(line)
        text.highlight_regex(r"error\[\S+\]:", "bold red")
        text.highlight_regex(r"Fix: .*", "green")
        Console(stderr=True, highlight=False).print(text, soft_wrap=True)
    else:
        print(f"jointembed: {line}", file=sys.stderr)
    return code


def find_own_code(error: BaseException) -> CodeError | None:
    """The failure for an error within code of the user that a recipe names, such as a loss or an encoder.

    It names the user's innermost line, though what is called there has raised the error. None if no such code ran.
    """
    package = Path(__file__).parents[1]
    libraries = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    inside = [Path(frame.filename).is_relative_to(package) for frame in frames]
    first = inside.index(True) if True in inside else len(frames)  # code before it has called this package
    for frame in reversed(frames[first:]):
        if not any(Path(frame.filename).is_relative_to(folder) for folder in [package, *libraries]):
            place = f"{frame.filename}, line {frame.lineno}, in {frame.name}"
            wrong = " ".join(f"{type(error).__name__}: {error} in {frame.line!r}".split())[:500]
            return CodeError(place, wrong, "correct this code; --debug shows the whole traceback")
    return None


def is_recipe_error(error: ValueError) -> bool:
    """Whether a constructor that a recipe calls, or a check of Lightning, has refused a value."""
    message = " ".join(str(error).split())
    return bool(_OWN.search(message) or _REFUSED.search(message)) or any(sign in message for sign in _SIGNS.values())


def explain_recipe_error(command: str, recipes: list[str], error: Exception) -> UserError:
    """The failure for an error of jsonargparse, which reads the recipes and options of `fit` and its like."""
    cause: BaseException | None = error
    while cause is not None:  # jsonargparse wraps the errors that our constructors raise
        if isinstance(cause, UserError):
            return cause
        cause = cause.__cause__ or cause.__context__
    message = " ".join(str(error).split())
    if own := _OWN.search(message):  # inside a list of all that a value might have been
        return UsageError(own[1], own[2], own[3])
    for key, sign in _SIGNS.items():
        if sign in message:
            return UsageError(key, message.rstrip("."), "correct it")
    if (refused := _REFUSED.search(message)) and not refused[2].startswith(("Expected", "Not a", "Problem with")):
        subject = "trainer.callbacks" if "callback.Callback" in refused[1] else command
        return UsageError(subject, refused[2], "correct it")
    if (refused := _REFUSED.search(message)) and (option := _OPTION.match(refused[2])):
        return UsageError(option[1].rpartition(".")[2], f"it has no option {option[2]}", "correct its name")
    if empty := re.search(r"Not a valid subclass of (\w+)\. Got value: None", message):
        key = ".".join(dict.fromkeys(_KEY.findall(message))) or command
        return UsageError(key, f"a value is missing: null is not an {empty[1]}", "give it a class_path")
    if required := _REQUIRED.search(message):
        key, name = ".".join(dict.fromkeys(_KEY.findall(message))), required[1].rpartition(".")[2]
        wrong = f"{name} needs {required[2]}, which {'are' if ',' in required[2] else 'is'} missing"
        return UsageError(key, wrong, f"give {', '.join(f'--{key}.{part}' for part in required[2].split(', '))}")
    keys, value = _KEY.findall(message), _VALUE.fullmatch(message)
    if keys and value:
        key, expected = ".".join(dict.fromkeys(keys)), _KEY.split(message)[-1]
        choices = dict.fromkeys(
            str(choice) for match in _CHOICES.findall(expected) for choice in ast.literal_eval(match)
        )
        kinds = [words for kind, words in _KINDS.items() if f"<class '{kind}'>" in expected]
        if choices or kinds:
            allowed = ([f"one of {', '.join(choices)}"] if choices else []) + kinds
            fix = did_you_mean(value[1], choices) if choices else "correct it"
            return UsageError(key, f"must be {' or '.join(allowed)}, got {value[1]}", fix)
    if unknown := re.search(r"Expected a dot import path string: (\S+)", message):
        from .. import __all__ as names

        key = ".".join(dict.fromkeys(_KEY.findall(message))) or command
        return UsageError(key, f"unknown class {unknown[1]}", did_you_mean(unknown[1], names))
    if len(message) > MAX_MESSAGE_CHARACTERS:
        message = message[:MAX_MESSAGE_CHARACTERS] + "..."
    return UsageError(" ".join([command, *recipes]), message, f"{command} --help lists its options")
