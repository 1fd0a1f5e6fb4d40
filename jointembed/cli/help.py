"""The pages that `--help` prints."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .parser import Parameter, read_parameters, usage

if TYPE_CHECKING:
    from rich.console import Console

SHARED_MODULES = {"__init__", "console", "errors", "help", "parser"}  # every other file of the folder is a command
GROUPS = {
    "Train": ["demo", "init", "recipes", "fit", "validate", "test", "predict", "adopt", "sweep", "dims", "evaluate"],
    "Index": ["index", "skips", "prune", "verify", "embed"],
    "Search": ["similar", "search", "path", "neighbors", "serve"],
    "Explore": ["cluster", "page", "projector"],
}
MAX_COLUMNS = 110


def commands() -> dict[str, str]:
    """The commands, each with the first line of its file, so that none has to be imported."""
    summaries = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem not in SHARED_MODULES:
            with open(path, encoding="utf-8") as file:
                summaries[path.stem] = file.readline().strip().strip('"').removesuffix(".")
    return summaries


def print_commands() -> None:
    """Print the page of `jointembed --help`."""
    from rich.text import Text

    console, summaries = _console(), commands()
    ungrouped = set(summaries).difference(*GROUPS.values())
    groups = {**GROUPS, "More": sorted(ungrouped)} if ungrouped else GROUPS
    console.print(Text.assemble(("Usage: ", "bold"), "jointembed COMMAND ..."))
    console.print("\nTrain one embedding space over audio, images, text and categories, and search it.")
    width = max(map(len, summaries))
    for group, names in groups.items():
        _print_section(console, group, [(name, summaries[name]) for name in names], width)
    console.print("\n`jointembed COMMAND --help` shows the arguments of a command; --debug shows full tracebacks.")


def print_command(name: str, function: Callable[..., Any]) -> None:
    """Print the page of `jointembed NAME --help`."""
    from rich.text import Text

    console, parameters = _console(), read_parameters(function)
    options = [parameter for parameter in parameters if not parameter.positional]
    line = usage(f"jointembed {name}", parameters) + (" [OPTIONS]" if options else "")
    console.print(Text.assemble(("Usage: ", "bold"), line))
    for paragraph in (inspect.getdoc(function) or "").partition("\n\nArgs:\n")[0].split("\n\n"):
        console.print(Text("\n" + " ".join(paragraph.split())))
    places = [(parameter.label, parameter.help.rstrip(".")) for parameter in parameters if parameter.positional]
    rows = [(_written(option), _explained(option)) for option in options]
    width = max((len(word) for word, _ in [*places, *rows] if len(word) <= 30), default=0)
    _print_section(console, "Arguments", places, width)
    _print_section(console, "Options", rows, width)


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    console.width = min(console.width, MAX_COLUMNS)
    return console


def _print_section(console: Console, title: str, rows: Sequence[tuple[str, str]], width: int) -> None:
    from rich.table import Table
    from rich.text import Text

    if rows:
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(min_width=width + 2, no_wrap=True, style="cyan")
        grid.add_column()
        for word, text in rows:
            grid.add_row(Text(f"  {word}"), Text(text))
        console.print(Text(f"\n{title}", "bold"))
        console.print(grid)


def _written(option: Parameter) -> str:
    return option.flag if option.kind is bool else f"{option.flag} {option.label}"


def _explained(option: Parameter) -> str:
    text = option.help.rstrip(".")
    if option.repeated:
        text += " (may be given several times)"
    return text if option.default in (None, False, "") else f"{text} (default: {option.default})"
