"""Failures as one line: those of this package, of the system, and of the parser of recipes."""

from __future__ import annotations

import ast
import importlib
import os
import re
import sys
import sysconfig
import traceback
from pathlib import Path

from ..errors import CodeError, UsageError, UserError, did_you_mean, from_oserror

_KEY = re.compile(r'Parser key "([\w.]+)": ')
_CHOICES = re.compile(r"typing\.Literal(\[[^\]]*\])")
_VALUE = re.compile(r".*(?:Got|Given) value: (.*)")
_OWN = re.compile(
    r"error\[(?P<tag>E-\w+)\]: (?P<subject>\S.*?): (?P<problem>.*?)\. "
    r"Fix: (?P<fix>.*?)(?= - Expected | - Not a | Given value type|$)"
)
_IN_WORKER = "Original Traceback (most recent call last):"  # torch's, of a process that loads batches
_FRAME = re.compile(r'^ *File "(.+)", line (\d+), in (\S+)\n(?: {4}(?! *File ")(.*)\n)?', re.MULTILINE)
_CLASS_PATH = re.compile(r"Problem with given class_path '([\w.]+)': (.*)")
_NOT_A_SUBCLASS = re.compile(r"Import path ([\w.]+) does not correspond to a subclass of (\w+)")
_REQUIRED = re.compile(
    r"Problem with given class_path '([\w.]+)': the following arguments are required: ([\w, ]+?)(?= -|$)"
)
_SIGNS = {"trainer.val_check_interval": "`val_check_interval`", "seed_everything": "is not in bounds, numpy accepts"}
_REFUSED = re.compile(r"Does not validate against any of the Union subtypes Subtypes: (.*?) Errors: - (.*?)\.? - ")
_OPTION = re.compile(r"Problem with given class_path '([\w.]+)': Option '(\w+)' is not accepted")
_KINDS = {
    **{"int": "a whole number", "float": "a number", "bool": "true or false"},
    **{"str": "text", "list": "a list", "dict": "a mapping"},
}
_BASES = {"encoders": "an Encoder", "reader": "a Reader", "objectives": "an Objective"}  # of the classes at a key
_MEMORY = re.compile(  # of torch and NumPy
    "can't allocate memory|CUDA out of memory|Unable to allocate"
    "|Overflow when unpacking long|size calculation overflowed"
)
_SIZE = re.compile("[0-9.]+ (?:bytes|[KMGTP]iB)")
MAX_MESSAGE_CHARACTERS = 400


def report(error: Exception) -> int:
    """Print a failure on standard error and return its exit code."""
    failure = error if isinstance(error, UserError) else find_own_code(error)
    if failure is None and isinstance(error, OSError):
        failure = from_oserror(error)
    if failure is None and (isinstance(error, MemoryError) or _MEMORY.search(str(error))):
        fix = "lower model.dim, data.batch_size or the number of rows, or use a machine with more memory"
        size = _SIZE.search(str(error))
        failure = UsageError("memory", f"there is too little{f' for {size[0]} at once' if size else ''}", fix)
    if failure is not None:
        line, code = f"{failure}", failure.code
    else:
        wrong = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        line, code = f"error[E-INTERNAL]: {wrong}. Fix: run it again with --debug and report the traceback", 1
    if sys.stderr is None:  # the process was started without one
        return code
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


def find_own_code(error: BaseException) -> UserError | None:
    """The failure for an error within code of the user that a recipe names, such as a loss or an encoder.

    It names the user's innermost line, though what is called there has raised the error. None if no such code ran. An
    error in a process that loads batches comes as the text of its traceback.
    """
    frames, wrong = traceback.extract_tb(error.__traceback__), f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError) and error.filename and not _is_ours(error.filename):
        frames, wrong = traceback.StackSummary(), f"{type(error).__name__}: {error.msg}"
        frames.append(traceback.FrameSummary(error.filename, error.lineno, "<module>", line=error.text or ""))
    elif _IN_WORKER in str(error):
        text = str(error.args[0])
        frames = traceback.StackSummary.from_list(
            [(frame[1], int(frame[2]), frame[3], frame[4] or "") for frame in _FRAME.finditer(text)]
        )
        *_, wrong = text.rstrip().splitlines()
        if own := _OWN.search(wrong):
            kinds = {kind.tag: kind for kind in (*UserError.__subclasses__(), *UsageError.__subclasses__())}
            return kinds[own["tag"]](own["subject"], own["problem"], own["fix"])
    files = [frame.filename for frame in frames]
    # Code before the first call of this package has called it, as tests do.
    first = next((at for at, file in enumerate(files) if _is_ours(file)), 0)
    for frame in reversed(frames[first:]):
        file = frame.filename
        if (
            os.path.isfile(file) and not _is_ours(file) and not _is_of_library(file)
        ):  # Cython names files that do not exist
            place = f"{frame.filename}, line {frame.lineno}" + f", in {frame.name}" * (frame.name != "<module>")
            wrong = " ".join(f"{wrong} in {(frame.line or '').strip()!r}".split())[:500]
            return CodeError(place, wrong, "correct this code; --debug shows the whole traceback")
    return None


def _is_ours(file: str) -> bool:
    return Path(file).is_relative_to(Path(__file__).parents[1])


def _is_of_library(file: str) -> bool:
    folders = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    return any(Path(file).is_relative_to(folder) for folder in folders)


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
        if failure := find_own_code(cause):
            return failure
        cause = cause.__cause__ or cause.__context__
    message = " ".join(str(error).split())
    if own := _OWN.search(message):  # inside a list of all that a value might have been
        return UsageError(own["subject"], own["problem"], own["fix"])
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
    if reasons := _explain_keys(message, ".".join(dict.fromkeys(_KEY.findall(message))) or command):
        return UsageError(*reasons)
    if required := _REQUIRED.search(message):
        key, name = ".".join(dict.fromkeys(_KEY.findall(message))), required[1].rpartition(".")[2]
        wrong = f"{name} needs {required[2]}, which {'are' if ',' in required[2] else 'is'} missing"
        return UsageError(key, wrong, f"give {', '.join(f'--{key}.{part}' for part in required[2].split(', '))}")
    keys, value = _KEY.findall(message), _VALUE.fullmatch(message)
    if mismatch := _NOT_A_SUBCLASS.search(message):
        wrong = f"{mismatch[1]} is not derived from {mismatch[2]}"
        fix = f"give a class that is derived from {mismatch[2]}"
        return UsageError(".".join(dict.fromkeys(keys)) or command, wrong, fix)
    if (path := _CLASS_PATH.search(message)) and (explained := _explain_class_path(path[1], path[2])):
        return UsageError(".".join(dict.fromkeys(keys)) or command, *explained)
    if keys and value:
        if reason := _why_not_imported(value[1]):
            return UsageError(".".join(dict.fromkeys(keys)), *reason)
        key, expected = ".".join(dict.fromkeys(keys)), _KEY.split(message)[-1].partition(" Given value")[0]
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
        if unknown[1] in names and (base := _BASES.get(key.rpartition(".")[2])):
            return UsageError(key, f"{unknown[1]} is not {base}", f"give {base}")
        return UsageError(key, f"unknown class {unknown[1]}", did_you_mean(unknown[1], names))
    if len(message) > MAX_MESSAGE_CHARACTERS:
        message = message[:MAX_MESSAGE_CHARACTERS] + "..."
    return UsageError(" ".join([command, *recipes]), message, f"{command} --help lists its options")


def _explain_keys(message: str, key: str) -> tuple[str, str, str] | None:
    """The subject, what is wrong with it, and the fix, of a key that is missing, unknown or of another form.

    Args:
        message: of jsonargparse.
        key: that the message names, or the command.
    """
    if missing := re.fullmatch(r"the following arguments are required: (.+)", message):
        names = [re.sub(r"^(fit|validate|test|predict)\.", "", name) for name in missing[1].split(", ")]
        wrong, pronoun = ("they are missing", "them") if len(names) > 1 else ("it is missing", "it")
        return ", ".join(names), wrong, f"write {pronoun} into the recipe, or give --{names[-1]}"
    if unknown := re.fullmatch(r"Subcommand '\w+' does not accept option '(\S+)'", message):
        return unknown[1], "a recipe has no such key", "correct its name, or leave it out"
    if valueless := re.fullmatch(r"argument (?:-\w/)?(--[\w.]+): expected one argument", message):
        return valueless[1], "its value is missing", f"write {valueless[1]} VALUE"
    if tag := re.search(r"could not determine a constructor for the tag '([^']+)'.*line (\d+)", message):
        return f"line {tag[2]} of the recipe", f"the tag {tag[1]} is not read", "write the value without a tag"
    if needed := re.search(r"Problem with given class_path '([\w.]+)': Requirement '([\w-]+)[^']*' not met", message):
        return needed[1], f"it needs {needed[2]}, which is not installed", f"pip install {needed[2]}"
    if options := list(_OPTION.finditer(message)):
        return key, f"{options[-1][1].rpartition('.')[2]} has no option {options[-1][2]}", "correct its name"
    if re.search(r"'\w+' object has no attribute 'keys'", message):
        return f"{key}.init_args", "it must be a mapping", "write init_args: {NAME: VALUE}, or leave it out"
    if re.search(r"argument of type '\w+' is not iterable|import path string:$", message):
        return f"{key}.class_path", "it must be the name of a class", "write class_path: NAME"
    if base := re.search(r"Not a valid subclass of (\w+)\. Got value: \{", message):
        wrong = f"it does not describe an object of the class {base[1]}"
        return key, wrong, "write {class_path: NAME, init_args: {...}}, without other keys"
    return None


def _why_not_imported(value: str) -> tuple[str, str] | None:
    """What is wrong with a value that looks like the path of a class, and the fix, if its module fails to import."""
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", value):
        return None
    module = value.rpartition(".")[0]
    try:
        importlib.import_module(module)
    except Exception as error:  # of any code
        return f"{value} cannot be imported: {type(error).__name__}: {error}", f"correct {module}, or the path"
    return None


def _explain_class_path(path: str, message: str) -> tuple[str, str] | None:
    """What is wrong with a class path, and the fix, if its module or its class does not exist."""
    module, _, name = path.rpartition(".")
    if re.search(r"No module named", message):
        fix = "correct its path; modules are looked for in the working directory and among the installed packages"
        return f"the module of the class {path} does not exist", fix
    if f"has no attribute '{name}'" in message and module in sys.modules:
        names = [
            name for name, value in vars(sys.modules[module]).items() if getattr(value, "__module__", "") == module
        ]
        return f"{module} has no class {name}", did_you_mean(name, names)
    return None
