"""The pages that `--help` prints."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .parser import Parameter

SHARED_MODULES = {
    "__init__",
    "console",
    "progress",
    "errors",
    "help",
    "parser",
    "parts_file",
    "processes",
    "recipe_file",
    "reproduction_report",
    "run_report",
    "seeds",
}  # every other file of the folder is a command
GROUPS = {
    "Train": [
        "demo",
        "init",
        "recipes",
        "fit",
        "validate",
        "test",
        "predict",
        "adopt",
        "export",
        "sweep",
        "dims",
        "evaluate",
        "compare",
        "runs",
        "reproduce",
        "check",
        "cache",
    ],
    "Index": ["index", "skips", "prune", "verify", "embed"],
    "Search": ["similar", "search", "path", "neighbors", "serve"],
    "Explore": ["cluster", "page", "projector", "show"],
    "Shell": ["completion", "docs"],
}
EXIT_CODES = (
    "1 a check or own code that failed, 2 usage, 3 files skipped under --strict, 4 model and index that differ, "
    "5 damaged file, 6 full disk, 7 training that is not finite, 130 interrupted, 138 SIGUSR1, 143 SIGTERM"
)
MIN_COLUMNS, MAX_COLUMNS = 20, 110
BOLD, CYAN = "1", "36"  # codes of ANSI terminals


def commands() -> dict[str, str]:
    """The commands, each with the first line of its file, so that none has to be imported."""
    summaries = {}
    folder = os.path.dirname(__file__)
    for file_name in sorted(os.listdir(folder)):
        name, end = os.path.splitext(file_name)
        if end == ".py" and name not in SHARED_MODULES:
            with open(os.path.join(folder, file_name), encoding="utf-8") as file:
                summaries[name] = file.readline().strip().strip('"').removesuffix(".")
    return summaries


def print_commands() -> None:
    """Print the page of `jointembed --help`."""
    summaries = commands()
    ungrouped = set(summaries).difference(*GROUPS.values())
    groups = {**GROUPS, "More": sorted(ungrouped)} if ungrouped else GROUPS
    print(_style("Usage: ", BOLD) + "jointembed COMMAND ...")
    _print_paragraph("Train one embedding space over audio, images, text and categories, and search it.")
    for group, names in groups.items():
        _print_section(group, [(name, summaries[name]) for name in names], max(map(len, summaries)))
    _print_paragraph("`jointembed COMMAND --help` shows the arguments of a command; --debug shows full tracebacks.")
    _print_paragraph(f"Exit codes: {EXIT_CODES}.")


def print_command(name: str, function: Callable[..., Any]) -> None:
    """Print the page of `jointembed NAME --help`."""
    import inspect  # takes longer than to list the commands, as does argparse, which the parser needs

    from .parser import read_parameters, usage

    parameters = read_parameters(function)
    options = [parameter for parameter in parameters if not parameter.positional]
    print(_style("Usage: ", BOLD) + usage(f"jointembed {name}", parameters) + (" [OPTIONS]" if options else ""))
    for paragraph in (inspect.getdoc(function) or "").partition("\n\nArgs:\n")[0].split("\n\n"):
        _print_paragraph(" ".join(paragraph.split()))
    places = [(parameter.label, parameter.help.rstrip(".")) for parameter in parameters if parameter.positional]
    rows = [(_written(option), _explained(option)) for option in options]
    width = max((len(word) for word, _ in [*places, *rows] if len(word) <= 30), default=0)
    _print_section("Arguments", places, width)
    _print_section("Options", rows, width)


# rich would wrap and colour these pages too, but its import takes twice as long as all the rest.


def _style(text: str, code: str) -> str:
    styled = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    return f"\x1b[{code}m{text}\x1b[0m" if styled else text


def _wrap(text: str, indent: int = 0) -> list[str]:
    width = max(MIN_COLUMNS, min(shutil.get_terminal_size().columns, MAX_COLUMNS) - indent)
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _print_paragraph(text: str) -> None:
    print("", *_wrap(text), sep="\n")


def _print_section(title: str, rows: Sequence[tuple[str, str]], width: int) -> None:
    if rows:
        print("\n" + _style(title, BOLD))
    for word, text in rows:
        first, *rest = _wrap(text, width + 4)
        gap = " " * max(0, width - len(word))
        if len(word) > width:  # a long option stands on a line of its own
            print("  " + _style(word, CYAN))
            rest, first, gap = [first, *rest], "", ""
        if first:
            print(f"  {_style(word, CYAN)}{gap}  {first}")
        for line in rest:
            print(" " * (width + 4) + line)


def _written(option: Parameter) -> str:
    return option.flag if option.kind is bool else f"{option.flag} {option.label}"


def _explained(option: Parameter) -> str:
    text = option.help.rstrip(".")
    if option.repeated:
        text += " (may be given several times)"
    return text if option.default in (None, False, "") else f"{text} (default: {option.default})"
