"""Failures that a user can mend: one line each, with the exit code of its kind."""

from __future__ import annotations

import errno
import os
import unicodedata


class UserError(Exception):
    """What is wrong with which file or key, and how to mend it; printed as one line, never as a traceback.

    Args:
        subject: the file or key concerned.
        wrong: what is wrong with it, as a sentence without its full stop.
        fix: the command or change that mends it.
    """

    code = 1
    tag = "E-INTERNAL"

    def __init__(self, subject: object, wrong: str, fix: str) -> None:
        super().__init__(subject, wrong, fix)
        self.subject, self.wrong, self.fix = str(subject), wrong, fix

    def __str__(self) -> str:
        line = f"error[{self.tag}]: {self.subject or repr('')}: {self.wrong}. Fix: {self.fix}"
        return escape_control(" ".join(line.split()))


class UsageError(UserError):
    """The command, the recipe or the table asks for something that cannot be had (exit code 2)."""

    code, tag = 2, "E-USAGE"


class UnsafeError(UsageError):
    """A file asks for code that it may not run (exit code 2)."""

    tag = "E-UNSAFE"


class SkippedError(UserError):
    """The work is done, but some items were left out (exit code 3, only where strictness was asked for)."""

    code, tag = 3, "E-SKIPPED"


class MismatchError(UserError):
    """An index and a model, or a file and this version, do not belong together (exit code 4)."""

    code, tag = 4, "E-MISMATCH"


class DamagedError(UserError):
    """A file is broken or is not what its place says (exit code 5)."""

    code, tag = 5, "E-DAMAGED"


class DiskFullError(UserError):
    """No space is left where something must be written (exit code 6)."""

    code, tag = 6, "E-SPACE"


def from_oserror(error: OSError) -> UserError | None:
    """The failure for what the system refuses: space, or a file that may not be opened; None for anything else."""
    subject = "the output" if error.filename is None else os.fsdecode(error.filename)
    if error.errno == errno.ENOSPC:
        return DiskFullError(subject, "no space is left on the disk", "free some space and run the command again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and error.filename is not None:
        wrong = f"it may not be opened or written ({os.strerror(error.errno).lower()})"
        return UsageError(subject, wrong, "correct its permissions, or those of its folder")
    return None


def escape_control(text: str) -> str:
    """A text in which what would not show, or would reach the terminal as a command, is written out."""
    return "".join(
        sign if sign.isprintable() or unicodedata.category(sign) == "Zs" else ascii(sign)[1:-1] for sign in text
    )


def missing_extra(name: str, package: str) -> UsageError:
    """The failure for an optional `package` that is not installed, naming the install command that mends it."""
    return UsageError(package, "this needs a package that is not installed", f'pip install "jointembed[{name}]"')


def did_you_mean(name: str, known: object, most: int = 8) -> str:
    """Words for a fix: the nearest of the `known` names to a mistyped one, else the first few of them."""
    from difflib import get_close_matches

    names = [str(one) for one in known]  # type: ignore[attr-defined]
    near = get_close_matches(name, names, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return (
        "use one of " + ", ".join(names[:most]) + (", ..." if len(names) > most else "")
        if names
        else "there is none to choose from"
    )
