"""The `jointembed` command: `fit validate test predict` are Lightning's, every other word is a file in `commands`."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

COMMANDS = {
    "demo": "compose a small catalogue of songs, train a space on it, and ask it things",
    "fit": "train a model: jointembed fit -c RECIPE.yaml --data.table TABLE",
    "validate": "the losses and figures of a model on the dev rows",
    "test": "the losses of a model on the test rows",
    "predict": "the vectors of a table's rows",
    "recipes": "list the recipes, or print one",
    "adopt": "make a model out of one of Hugging Face (CLAP, AST, HuBERT, Whisper ...), with no training",
    "index": "embed a table, or the sound files of a folder, into an index",
    "skips": "the files that the index of a folder left out, and why",
    "prune": "remove the rows of an index whose files are gone",
    "verify": "whether an index is whole",
    "similar": "what is like an item of an index, or like a file; like several: similar INDEX A +B -C",
    "serve": "look at an index in the browser, hear it, and ask it over HTTP",
    "search": "what in an index fits words, an id, a bitmap or a row",
    "path": "a way from one item of an index to another without jumps",
    "neighbors": "the nearest items of every item of an index, or of every row of a table, as parquet",
    "cluster": "groups of like items of an index, named by what they have in common",
    "projector": "an index as a folder for TensorBoard's projector",
    "page": "the map of an index, its search and its neighbours, as one HTML file",
    "init": "a recipe for a table: what its columns seem to be, and what could be learned of them",
    "dims": "how many dimensions a table asks for; of a model, what fewer of them cost",
    "sweep": "search the settings of a recipe, by its figures on the dev rows",
    "evaluate": "retrieval figures of a model on a table, with intervals and chance",
    "embed": "the vectors of a table's column, as parquet",
}
LIGHTNING = ("fit", "validate", "test", "predict")


def usage() -> str:
    """The page that `jointembed --help` prints."""
    lines = [f"  {name:<10}{about}" for name, about in COMMANDS.items()]
    return "\n".join([
        "usage: jointembed COMMAND ...", "", "Songs, sounds, bitmaps, words and ids as vectors in one space.", "",
        *lines, "", "jointembed COMMAND --help shows the arguments of a command; --debug a full traceback.",
    ])  # fmt: skip


def run(words: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    from .errors import UsageError, did_you_mean

    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    name, *rest = words
    if name == "--version":
        from . import __version__

        print(__version__)
        return 0
    if name not in COMMANDS:
        raise UsageError(name, "there is no such command", did_you_mean(name, COMMANDS))
    from .cli import parser

    return parser.lightning(name, rest) if name in LIGHTNING else parser.own(name, rest)


def main(words: Sequence[str] | None = None) -> int:
    """The entry point: a failure that the user can mend is one line and an exit code, never a traceback."""
    try:
        return _told(list(sys.argv[1:] if words is None else words))
    except KeyboardInterrupt:
        print("jointembed: stopped", file=sys.stderr)
        return 130


def _told(words: list[str]) -> int:
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may hold what the terminal cannot show
    from .errors import UserError, from_oserror

    try:
        code = run(words)
        if sys.stdout is not None:  # it may be closed
            sys.stdout.flush()
        return code
    except UserError as failure:
        if debug:
            raise
        print(f"jointembed: {failure}", file=sys.stderr)
        return failure.code
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the output has seen enough
        return 0
    except Exception as error:
        if debug:
            raise
        known = from_oserror(error) if isinstance(error, OSError) else None
        if known is not None:
            print(f"jointembed: {known}", file=sys.stderr)
            return known.code
        said = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        print(
            f"jointembed: error[E-INTERNAL]: {said}. Fix: run it again with --debug and report what it shows",
            file=sys.stderr,
        )
        return 1


if __name__ == "__main__":
    sys.exit(main())
