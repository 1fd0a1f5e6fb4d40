"""Errors that a user can correct: each prints as one line and has the exit code of its kind."""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class UserError(Exception):
    """An error with its subject, the problem and the fix; printed as one line, never as a traceback.

    Args:
        subject: the file or key concerned.
        problem: what is wrong with it, as a sentence without its full stop.
        fix: the command or change that corrects it.
    """

    code = 1
    tag = "E-INTERNAL"

    def __init__(self, subject: object, problem: str, fix: str) -> None:
        super().__init__(subject, problem, fix)
        self.subject, self.problem, self.fix = str(subject), problem, fix

    def __str__(self) -> str:
        line = f"error[{self.tag}]: {self.subject or repr('')}: {self.problem}. Fix: {self.fix}"
        return escape_control(" ".join(line.split()))


class UsageError(UserError):
    """The command, the recipe or the table asks for something impossible (exit code 2)."""

    code, tag = 2, "E-USAGE"


class UnsafeError(UsageError):
    """A file would run code that is not trusted (exit code 2)."""

    tag = "E-UNSAFE"


class SkippedError(UserError):
    """The work is done, but some items were skipped (exit code 3, only with --strict)."""

    code, tag = 3, "E-SKIPPED"


class MismatchError(UserError):
    """An index and a model, or a file and this version, do not belong together (exit code 4)."""

    code, tag = 4, "E-MISMATCH"


class DamagedError(UserError):
    """A file is damaged, or is not what its name says (exit code 5)."""

    code, tag = 5, "E-DAMAGED"


class DiskFullError(UserError):
    """No space is left on the disk (exit code 6)."""

    code, tag = 6, "E-SPACE"


class DivergedError(UserError):
    """The loss, the gradients or the weights of a training are not finite (exit code 7)."""

    code, tag = 7, "E-DIVERGED"


class UnhealthyError(UserError):
    """A check of a model or its data has failed (exit code 1)."""

    tag = "E-CHECK"


class CodeError(UserError):
    """Code of the user that a recipe names, such as an encoder or a loss, has raised an error (exit code 1)."""

    tag = "E-CODE"


def _errnos(names: str) -> set[int]:
    return {getattr(errno, name) for name in names.split() if hasattr(errno, name)}  # Windows lacks some of them


_DISK_ERRORS = _errnos("EIO ESTALE EREMOTEIO")
_MOUNT_ERRORS = _errnos("ETIMEDOUT ENOTCONN EHOSTDOWN EHOSTUNREACH ENODEV ENXIO")  # or, without a file, of a connection


def from_oserror(error: OSError) -> UserError | None:
    """The error for a disk that is full or fails, or a file that may not be opened; None for other system errors."""
    subject = "the output" if error.filename is None else os.fsdecode(error.filename)
    if error.errno == errno.ENOSPC:
        return DiskFullError(subject, "no space is left on the disk", "free some space and run the command again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and error.filename is not None:
        problem = f"it may not be opened or written ({os.strerror(error.errno).lower()})"
        return UsageError(subject, problem, "correct its permissions, or those of its folder")
    if error.errno == errno.ENOENT and error.filename is None:  # as os.getcwd() raises it
        return UsageError("working directory", "it does not exist any more", "change to another one, with cd")
    if error.errno in (errno.EEXIST, errno.ENOTDIR) and error.filename is not None:
        return UsageError(subject, "a file is in the place of a folder", "give another folder, or move the file")
    if error.errno in (errno.ENAMETOOLONG, errno.ELOOP) and error.filename is not None:
        return UsageError(subject, f"no file can have this path ({os.strerror(error.errno).lower()})", "correct it")
    if error.errno in _DISK_ERRORS or (error.errno in _MOUNT_ERRORS and error.filename is not None):
        problem = f"it cannot be read or written ({os.strerror(error.errno).lower()})"
        return DamagedError(subject, problem, "check its disk or network mount, then run the command again")
    return None


@contextmanager
def name_subject(name: str) -> Iterator[None]:
    """Put a name, such as that of a column, before the subject of an error, unless it is there."""
    try:
        yield
    except UserError as error:
        if name not in error.subject:
            error.subject = f"{name}: {error.subject}"
            error.args = error.subject, *error.args[1:]
        raise


def escape_control(text: str) -> str:
    """The text with escapes for all characters that are invisible or could control the terminal."""
    return "".join(
        character if character.isprintable() or unicodedata.category(character) == "Zs" else ascii(character)[1:-1]
        for character in text
    )


LEAVE_OUT = "embed its columns with jointembed"  # the fix for a part of a model that ONNX cannot express


def missing_extra(name: str, package: str) -> UsageError:
    """The error for an optional `package` that is not installed; its fix installs the extra `name`."""
    return UsageError(package, "this needs a package that is not installed", f'pip install "jointembed[{name}]"')


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The choice that a name is probably a misspelling of; None if it resembles none."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, list(choices), n=1)), None)


def did_you_mean(name: str, choices: Iterable[object], limit: int = 8) -> str:
    """The fix for a mistyped name: the nearest of the choices, else the first few of them."""
    names = [str(choice) for choice in choices]
    if near := nearest(name, names):
        return f"did you mean {near}?"
    if not names:
        return "nothing to choose from exists"
    return "use one of " + ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
