"""From the words of a command line to a call of a typed function.

The signature of a command is its command line: parameters before `*` are given by position, those behind it as options.
A `bool` is an option without a value, a `list[str]` may be given several times, and the `_` at the end of `json_` only
keeps Python's own name free. A function with `*words` gets the words as they are.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Pattern:
    """How the texts of an option look: `expression` matches them, `noun` names them, and one is the `example`."""

    expression: str
    noun: str
    example: str


_PATTERNS = {
    "--trust": Pattern(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*", "the name of a Python package", "my_package"),
    "--device": Pattern(r"[a-z]+(?::\d+)?", "auto, cpu, or the name of an accelerator", "cuda"),
}


@dataclass(frozen=True)
class Parameter:
    """A parameter of a command.

    Args:
        name: as Python calls it.
        kind: str, int, float, bool or a Literal.
        positional: it is given by position.
        repeated: it takes several values.
        default: `Parameter.REQUIRED` if it has none.
        help: its description.
    """

    REQUIRED = inspect.Parameter.empty

    name: str
    kind: Any
    positional: bool
    repeated: bool
    default: Any
    help: str

    @property
    def flag(self) -> str:
        """The option, such as `--one-per`, or `-k`."""
        name = self.name.rstrip("_").replace("_", "-")
        return f"-{name}" if len(name) == 1 else f"--{name}"

    @property
    def label(self) -> str:
        """How its value is written in usage lines: `INDEX`, `ITEM...`, `[NAME]`, `N`, `max|min`."""
        if typing.get_origin(self.kind) is typing.Literal:
            return "|".join(typing.get_args(self.kind))
        if not self.positional:
            return {int: "N", float: "X"}.get(self.kind) or self.name.rstrip("_").upper()
        label = self.name.upper() + ("..." if self.repeated else "")
        return label if self.default is self.REQUIRED else f"[{label}]"

    def convert(self, text: str) -> Any:
        """The value that a word stands for.

        Raises:
            UsageError: it is not a number or not one of the choices.
        """
        subject = self.name.upper() if self.positional else self.flag
        if typing.get_origin(self.kind) is typing.Literal:
            choices = typing.get_args(self.kind)
            if text not in choices:
                wrong = f"{text!r} is not one of {', '.join(choices)}"
                raise UsageError(subject, wrong, did_you_mean(text, choices))
        elif self.kind in (int, float):
            try:
                return self.kind(text)
            except ValueError as error:
                number, example = ("a whole number", "10") if self.kind is int else ("a number", "0.5")
                raise UsageError(subject, f"must be {number}, got {text!r}", f"write {self.flag} {example}") from error
        elif not text:
            fix = "give a value" if self.positional else f"give a value, or leave {self.flag} out"
            raise UsageError(subject, "must not be empty", fix)
        elif pattern := _PATTERNS.get(subject):
            if not re.fullmatch(pattern.expression, text):
                raise UsageError(
                    subject, f"must be {pattern.noun}, got {text!r}", f"write {self.flag} {pattern.example}"
                )
        return text


def load(name: str) -> Callable[..., Any]:
    """The function NAME of `cli/NAME.py`."""
    function: Callable[..., Any] = getattr(importlib.import_module(f".{name}", __package__), name)
    return function


def takes_words(function: Callable[..., Any]) -> bool:
    """Whether a function gets the words of its command line as they are."""
    return any(
        parameter.kind is parameter.VAR_POSITIONAL for parameter in inspect.signature(function).parameters.values()
    )


def asks_for_help(words: Sequence[str]) -> bool:
    """Whether -h or --help is among the words before `--`."""
    return bool({"-h", "--help"} & set(_split(words)[0]))


def _split(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """The words before `--`, and those behind it, which are never options."""
    end = words.index("--") if "--" in words else len(words)
    return words[:end], words[end + 1 :]


def read_parameters(function: Callable[..., Any]) -> list[Parameter]:
    """The parameters of a function, by its signature and the section Args of its docstring."""
    hints = typing.get_type_hints(function)
    described = _describe(inspect.getdoc(function) or "")
    parameters = []
    for name, parameter in inspect.signature(function).parameters.items():
        kind = hints[name]
        if typing.get_origin(kind) in (typing.Union, types.UnionType):
            kind = next(option for option in typing.get_args(kind) if option is not types.NoneType)
        repeated = typing.get_origin(kind) is list
        if repeated:
            (kind,) = typing.get_args(kind)
        positional = parameter.kind is not parameter.KEYWORD_ONLY
        parameters.append(Parameter(name, kind, positional, repeated, parameter.default, described[name]))
    return parameters


def _describe(doc: str) -> dict[str, str]:
    """The description of each parameter in a docstring."""
    described: dict[str, str] = {}
    name = ""
    for line in doc.partition("\n\nArgs:\n")[2].partition("\n\n")[0].splitlines():
        if line.startswith("     "):
            described[name] += " " + line.strip()
        else:
            name, _, text = line.strip().partition(": ")
            described[name] = text
    return described


def usage(command: str, parameters: Sequence[Parameter]) -> str:
    """The arguments of a command on one line."""
    labels = [parameter.label for parameter in parameters if parameter.positional]
    return " ".join([command, *labels])


def parse(name: str, function: Callable[..., Any], words: Sequence[str]) -> dict[str, Any]:
    """The arguments of a command's function.

    Raises:
        UsageError: an argument is missing, unknown or of the wrong type.
    """
    command, parameters = f"jointembed {name}", read_parameters(function)
    words, names = _split(words)
    options = {parameter.flag: parameter for parameter in parameters if not parameter.positional}
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for flag, parameter in options.items():
        action = "store_true" if parameter.kind is bool else "append" if parameter.repeated else "store"
        flags = [flag, f"-{flag}"] if len(flag) == 2 else [flag]
        parser.add_argument(*flags, dest=parameter.name, action=action, default=argparse.SUPPRESS)
    try:
        namespace, rest = parser.parse_known_args(words)
    except argparse.ArgumentError as error:
        flag = str(error.argument_name).partition("/")[0]
        if options[flag].kind is bool:
            raise UsageError(flag, "it takes no value", f"write {flag} alone, or leave it out") from error
        raise UsageError(
            flag, "its value is missing", f"write {flag} VALUE, or {flag}=VALUE if the value begins with -"
        ) from error
    places = [parameter for parameter in parameters if parameter.positional]
    for word in rest:
        if word.startswith("-") and len(word) > 1 and " " not in word:
            raise _unknown_option(command, word.partition("=")[0], places, options)
    values: dict[str, Any] = vars(namespace)
    left = [*rest, *names]
    for following, place in zip(reversed(range(len(places))), places, strict=True):
        if left:
            count = max(1, len(left) - following) if place.repeated else 1
            values[place.name], left = (left[:count] if place.repeated else left[0]), left[count:]
    missing = [place.label for place in places if place.name not in values and place.default is Parameter.REQUIRED]
    if missing:
        wrong = f"{' and '.join(missing).replace('...', '')} {'is' if len(missing) == 1 else 'are'} missing"
        raise UsageError(command, wrong, f"write {usage(command, parameters)}")
    if left:
        fix = f"write {usage(command, parameters)}, with quotes around names that contain spaces"
        raise UsageError(left[0], "unexpected argument", fix)
    for parameter in parameters:
        value = values.get(parameter.name)
        if isinstance(value, list):
            values[parameter.name] = [parameter.convert(text) for text in value]
        elif isinstance(value, str):
            values[parameter.name] = parameter.convert(value)
    return values


def _unknown_option(command: str, word: str, places: Sequence[Parameter], options: dict[str, Parameter]) -> UsageError:
    for place in places:
        if word == place.flag:
            return UsageError(word, "this argument is given by position", f"write {usage(command, places)}")
    fix = did_you_mean(word, options, 99) if options else f"write {usage(command, places)}"
    if not word.startswith("--"):
        labels = " ".join(place.name.upper() for place in places[:-1])
        fix += f"; if it is a name, write it after --: {command} {labels} -- {word}"
    return UsageError(word, f"{command} has no such option", fix)
