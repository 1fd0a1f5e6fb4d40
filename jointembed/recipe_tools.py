"""Shared by the scripts of recipes: their command line, errors, splits and the tables they write."""

from __future__ import annotations

import argparse
import csv
import gzip
import importlib.util
import json
import os
import shutil
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import numpy as np

from .errors import DamagedError, UsageError, UserError
from .files import atomic_write, write

Row = dict[str, Any]

SPLITS = ("train", "dev", "val", "valid", "test", "unseen")  # rows of other splits are candidates


class Arguments(argparse.ArgumentParser):
    """The command line of a prepare script: `SOURCE... OUT` and its options.

    Args:
        about: the docstring of the script, shown by `--help`.
        fetch: how to get the data, with its size and licence: a sentence without a full stop.
    """

    def __init__(self, about: str | None, fetch: str) -> None:
        super().__init__(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
        self.fetch = fetch
        self.add_argument("places", nargs="*", metavar="SOURCE... OUT", help="folders of data, then the table's folder")
        self.add_argument(
            "--split", choices=["test", "dev"], help="put all rows into this split: data that takes no part in training"
        )

    def error(self, message: str) -> NoReturn:
        """Report the errors of argparse in one line."""
        raise UsageError(self.prog, message, f"python {sys.argv[0]} --help")

    def read(self) -> tuple[list[Path], Path, argparse.Namespace]:
        """The sources, the folder to write and the options.

        Raises:
            UsageError: a source is missing or is not a folder; the message says what to fetch.
        """
        options = self.parse_intermixed_args()
        *sources, out = [Path(place) for place in options.places] or [Path()]
        if not sources:
            raise UsageError(sys.argv[0], "a source and a folder to write are needed", self.fetch)
        for source in sources:
            if not source.is_dir():
                raise UsageError(source, "the folder does not exist", self.fetch)
        return sources, out, options


def lines(source: Path, *names: str) -> list[str]:
    """The lines of the first of these files that exists, gzipped or not, in UTF-8 or Latin-1; [] if none does.

    Raises:
        DamagedError: the file cannot be unpacked.
    """
    for path in (source / (name + end) for name in names for end in ("", ".gz")):
        if path.is_file():
            data = path.read_bytes()
            try:
                raw = gzip.decompress(data) if path.suffix == ".gz" else data
            except (OSError, EOFError, zlib.error) as error:
                raise DamagedError(path, f"it cannot be unpacked ({error})", "fetch it again") from error
            try:
                return raw.decode().splitlines()
            except UnicodeDecodeError:
                return raw.decode("latin-1").splitlines()
    return []


def run_script(main: Callable[[], None]) -> None:
    """Run a script; an error that the user can fix becomes one line on stderr and its exit code."""
    try:
        try:
            main()
        except OSError as error:
            raise UsageError(
                error.filename, error.strerror or "cannot be used", "check the path and its permissions"
            ) from error
    except UserError as failure:
        print(failure, file=sys.stderr)
        raise SystemExit(failure.code) from None
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(130) from None


def load_script(path: Path) -> ModuleType:
    """Import a script of a recipe by its path, to share its functions; recipes are not a package."""
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def hash_fraction(key: str) -> float:
    """A number in [0, 1) that depends only on the key, on every machine and in every run.

    >>> hash_fraction("0_george_1")
    0.6247163503893042
    """
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest()) / 2**64


def hold_out(keys: Iterable[str], share: float) -> set[str]:
    """A pseudo-random share of the distinct keys, at least one; the same in every run."""
    ranked = sorted(set(keys), key=lambda key: (hash_fraction(key), key))
    return set(ranked[: max(1, round(share * len(ranked)))])


def read_csv(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file with at least these columns.

    Raises:
        UsageError: a column is missing.
    """
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        for column in columns:
            if column not in (reader.fieldnames or ()):
                raise UsageError(path, f"it has no column {column}", "use the file as it was published")
        return list(reader)


def link_or_copy(source: Path, out: Path, folder: str) -> str:
    """Put a file into a folder beside the table, as a hard link where possible; returns its path in the table."""
    target = out / folder / source.name
    if not (target.exists() and target.samefile(source)):
        target.parent.mkdir(parents=True, exist_ok=True)
        # Writing to an existing hard link would change its source.
        target.unlink(missing_ok=True)
        try:
            os.link(source.resolve(), target)
        except OSError:
            shutil.copyfile(source, target)
    return f"{folder}/{source.name}"


def write_rows(out: Path, rows: Sequence[Row], skipped: int = 0, split: str | None = None) -> None:
    """Write the table as `rows.parquet` if any cell is an array, else as `rows.jsonl`; print its splits.

    Args:
        out: the folder of the table, which is replaced atomically.
        rows: a dict for each row, without missing cells. Arrays of a column are uint8 and of the same length.
        skipped: number of items that the source lists but does not contain.
        split: of all rows that are not candidates only, in place of their own.

    Raises:
        UsageError: rows is empty, or an id is not unique.
    """
    if not rows:
        raise UsageError(
            out, f"nothing to write, {skipped} listed files are missing", "give the folder that holds them"
        )
    if split:
        rows = [row | {"split": split} if row["split"] in SPLITS else row for row in rows]
    if len({row["id"] for row in rows}) < len(rows):
        raise UsageError(out, "some ids are not unique", "give every source once")
    if any(isinstance(cell, np.ndarray) for row in rows for cell in row.values()):
        path = out / "rows.parquet"
        _write_parquet(path, rows)
    else:
        path = out / "rows.jsonl"
        write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    splits = ", ".join(f"{split} {count}" for split, count in sorted(Counter(row["split"] for row in rows).items()))
    print(f"{path}: {splits} rows" + (f"; {skipped} listed files are missing and were skipped" if skipped else ""))


def _write_parquet(path: Path, rows: Sequence[Row]) -> None:
    import pyarrow
    import pyarrow.parquet

    columns = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        cells = [row.get(name) for row in rows]
        first = next(cell for cell in cells if cell is not None)
        if isinstance(first, np.ndarray):
            blank = np.zeros_like(first)
            values = pyarrow.array(np.concatenate([blank if cell is None else cell for cell in cells]))
            missing = pyarrow.array([cell is None for cell in cells])
            columns[name] = pyarrow.FixedSizeListArray.from_arrays(values, first.size, mask=missing)
        else:
            columns[name] = pyarrow.array(cells)
    with atomic_write(path) as file:
        pyarrow.parquet.write_table(pyarrow.table(columns), file, compression="zstd")
