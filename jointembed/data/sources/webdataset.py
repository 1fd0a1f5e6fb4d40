"""WebDataset shards: .tar files in which the members of equal stem are a row."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ... import files
from ...errors import DamagedError, UsageError
from ..cache_folder import CONTENTS, cache_folder
from ..contents import ContentFolder
from ..table_file import ParquetTable, content_digest, open_table
from .dicts import ROWS, write_rows

SUFFIX = ".tar"
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


def find_shards(path: Path) -> list[Path]:
    """The shards that a path stands for: a .tar file, those of a folder, or of a range such as `songs-{000..012}.tar`.

    Raises:
        UsageError: a shard of a range does not exist.
    """
    if path.is_dir():
        return sorted(path.glob(f"*{SUFFIX}"))
    if path.suffix.lower() != SUFFIX:
        return []
    if path.is_file():
        return [path]
    paths = [path]
    while match := _BRACES.search(str(paths[0])):
        numbers = [str(number).zfill(len(match[1])) for number in range(int(match[1]), int(match[2]) + 1)]
        paths = [Path(_BRACES.sub(number, str(shard), count=1)) for shard in paths for number in numbers]
    for shard in paths:
        if not shard.is_file():
            raise UsageError(shard, "the shard does not exist", "correct the path, or put the file there")
    return paths


def open_shards(shards: Sequence[Path]) -> tuple[ParquetTable, Path, str]:
    """The table of shards, the folder that its paths are relative to, and its name.

    The members are written as files into the cache beside the shards, once for the content of these.

    Raises:
        DamagedError: see `read_shards`.
    """
    digests, more = [content_digest(shard) for shard in shards], f"+{len(shards) - 1}" if len(shards) > 1 else ""
    digest = hashlib.sha256("".join(digests).encode()).hexdigest() if more else digests[0]
    folder = cache_folder(shards[0].parent) / CONTENTS / f"{shards[0].name}{more}-{digest[:16]}"
    files.make_dir(folder.parent)
    with files.lock(folder.with_name(f"{folder.name}.lock"), wait=True):  # of processes of one training
        if not folder.is_dir():
            part = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            contents = ContentFolder(part, relative=True)
            write_rows(read_shards(shards, contents), contents)
            part.replace(folder)
    name = str(shards[0]) if len(shards) == 1 else f"{shards[0]} and {len(shards) - 1} more"
    return open_table(folder / ROWS), folder, name


def read_shards(shards: Sequence[Path], contents: ContentFolder) -> Iterator[dict[str, Any]]:
    """The rows of shards; the column of a member is what follows the first dot in its name, as in `0001.jpg`.

    A member .txt is a text, .cls a whole number, and the keys of .json are columns; any other is a file. The id of a
    row is the stem of its members, with their folder. Nothing is written under a name from a shard.

    Args:
        shards: .tar files without compression.
        contents: gets the files.

    Raises:
        DamagedError: a shard is not a .tar file, or is cut off, or a member is not what its name says.
    """
    for shard in shards:
        row: dict[str, Any] = {}
        try:
            with tarfile.open(shard, "r:") as archive:
                for member in archive:
                    folder, slash, name = member.name.rpartition("/")
                    stem, dot, column = name.partition(".")
                    if not (member.isreg() and not member.issparse() and stem and dot and column):
                        continue  # a folder, a link, a hidden file
                    stem = folder + slash + stem
                    if row and row["id"] != stem:
                        yield row
                        row = {}
                    file = archive.extractfile(member)
                    assert file is not None
                    cells = _read_member(f"{shard}: {member.name}", column.lower(), file.read(), contents)
                    row = {"id": stem, **row, **cells}
        except (tarfile.TarError, OSError, EOFError) as error:
            raise DamagedError(shard, f"it cannot be read as a .tar file ({error})", "write the shard again") from error
        if row:
            yield row


def _read_member(subject: str, column: str, content: bytes, contents: ContentFolder) -> dict[str, Any]:
    kind = column.rpartition(".")[2]
    try:
        if kind == "txt":
            return {column: content.decode().strip()}
        if kind == "cls":
            return {column: int(content)}
        if kind == "json":
            cell = json.loads(content)
            return cell if isinstance(cell, dict) and column == "json" else {column: cell}
    except ValueError as error:
        raise DamagedError(subject, f"it is not what its name says ({error})", "write the shard again") from error
    return {column: contents.write(content, f"content.{column}")}
