"""What the parser of command lines and recipes complains of, as one line that says what to write instead."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping, Sequence

from ..errors import UsageError, did_you_mean

SIGNED = re.compile(r"\+.+|-(?!h$|k[0-9]*$)[^-].*", re.DOTALL)  # an item that results should be like, or should not
_KEY = re.compile(r'Parser key "([\w.]+)": ')
_CHOICES = re.compile(r"typing\.Literal(\[[^\]]*\])")
_VALUE = re.compile(r".*(?:Got|Given) value: (.*)")
_KINDS = {"int": "whole number", "float": "number"}


def complaint(
    subject: str, known: Mapping[str, inspect.Parameter] | None, words: Sequence[str], message: str
) -> UsageError:
    """The failure for a message of jsonargparse.

    Args:
        subject: the command, with the recipes that it was given.
        known: what a command of ours takes; None if it is one of Lightning's.
        words: those of the command's line.
        message: on one line.
    """
    command = " ".join(subject.split()[:2])
    clear = _value(message, known is not None)
    if clear is None and known is not None:
        clear = _words(message, command, known, words)
    message = message[:400] + ("..." if len(message) > 400 else "")
    return clear or UsageError(subject, message, f"{command} --help lists what it takes")


def _value(message: str, flag: bool) -> UsageError | None:
    """That of a value which is none of its choices, no number, or neither true nor false; None if it is another."""
    keys, given = _KEY.findall(message), _VALUE.fullmatch(message)
    if not keys or not given:
        return None
    name = "--" + keys[-1].replace("_", "-") if flag else ".".join(dict.fromkeys(keys))
    wanted = _KEY.split(message)[-1]
    choices = [str(one) for found in _CHOICES.findall(wanted) for one in ast.literal_eval(found)]
    kind = next((kind for type_, kind in _KINDS.items() if f"<class '{type_}'>" in wanted), "")
    if choices:
        known = [*dict.fromkeys(choices), *([f"a {kind}"] if kind else [])]
        near = did_you_mean(given[1], dict.fromkeys(choices))
        fix = near if near.startswith("did") else "use one of these"
        return UsageError(name, f"{given[1]} is not among {', '.join(known)}", fix)
    if kind:
        return UsageError(name, f"{given[1]} is no {kind}", "give one")
    if "<class 'bool'>" in wanted:
        fix = f"write {name} alone, or leave it out" if flag else "use one of them"
        return UsageError(name, f"{given[1]} is neither true nor false", fix)
    return None


def _words(
    message: str, command: str, known: Mapping[str, inspect.Parameter], words: Sequence[str]
) -> UsageError | None:
    """That of words which are missing or too many; None if it is another."""
    places = [name for name, one in known.items() if one.default is one.empty]
    flags = ["--" + name.replace("_", "-") for name in known if name not in places]
    line = " ".join([command, *map(str.upper, places)])
    if found := re.fullmatch(r"the following arguments are required: (.*)", message):
        signed = [word for word in words if SIGNED.fullmatch(word)]
        if "plus" in known and signed and found[1] == "item":
            word = signed[0]
            fix = f"write {line} {word}; or, if {word} is itself the item: {line.replace('ITEM', '--')} {word}"
            return UsageError(word, "it is added to an item, or taken from it, and there is none", fix)
        missing = found[1].upper().split(", ")
        return UsageError(
            command, f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing", f"write {line}"
        )
    if found := re.fullmatch(r"argument (--\w+).*: expected .*", message):
        name = found[1].replace("_", "-")
        return UsageError(name, "its value is missing", f"write {name} VALUE, or leave it out")
    if found := re.fullmatch(r"unrecognized arguments: (\S+).*", message):
        name = found[1].partition("=")[0]
        if name in flags:
            return UsageError(name, "it stands behind --, where nothing is a flag", "write it before --")
        if name[:2] == "--" and name[2:] in places:
            return UsageError(name, "this is given by its place, not as a flag", f"write {line}")
        if name[:2] == "--" and len(name) > 2:
            return UsageError(name, f"{command} has no such flag", did_you_mean(name, flags, 99))
        if name[:1] == "-":
            said = " ".join([command, *map(str.upper, places[:-1]), "--", name])
            return UsageError(
                name,
                f"{command} has no such flag",
                f"use one of {', '.join(flags)}; a name is written behind --: {said}",
            )
        return UsageError(
            name, f"{command} takes no more words", f"write {line}, with quotes around names that hold spaces"
        )
    return None
