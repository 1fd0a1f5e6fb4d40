"""A Parquet file that is computed part by part: the finished parts survive an interruption."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files import LockedError, lock, make_dir, write
from .progress import track


def write_in_parts(
    out: str, count: int, size: int, signature: object, title: str, compute: Callable[[int], Any], schema: Any
) -> Any:
    """Compute a table part by part, and write it at the end. The same call goes on where it was interrupted.

    Args:
        out: the .parquet file.
        count: of the rows from which parts are computed.
        size: rows of a part.
        signature: all that decides the content, with a `repr` that changes with it; parts of another one are removed.
        title: shown with the progress.
        compute: the number of the first row of a part -> the pyarrow table of the part.
        schema: of the table.

    Returns:
        The pyarrow table.

    Raises:
        UsageError: see `parts_folder`.
    """
    import pyarrow as pa
    from pyarrow import parquet

    with parts_folder(out, repr(signature)) as folder:
        parts = [folder / f"{start:08}.parquet" for start in range(0, count, size)]
        for part in track(parts, title):
            if not part.exists():
                write(part, partial(parquet.write_table, compute(int(part.stem))))
        tables = [parquet.read_table(part).cast(schema) for part in parts]
        whole = pa.concat_tables([schema.empty_table(), *tables]).replace_schema_metadata(schema.metadata)
        write(out, partial(parquet.write_table, whole))
    return whole


@contextlib.contextmanager
def parts_folder(out: str, signature: str) -> Iterator[Path]:
    """The folder of the finished parts of a file, locked; parts of other signatures are removed.

    Raises:
        UsageError: another process is writing the file, or the folder cannot be written.
    """
    digest = hashlib.blake2b(signature.encode(), digest_size=6).hexdigest()
    folder = Path(f"{out}.{digest}.parts").absolute()
    make_dir(folder.parent)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock(f"{out}.lock"))
        except LockedError:
            fix = "wait until it has finished, or write another file"
            raise UsageError(out, "another process is writing it", fix) from None
        except OSError as error:
            wrong = f"it cannot be written ({error.strerror})"
            raise UsageError(out, wrong, "choose another path, or correct its permissions") from error
        obsolete = [path for path in folder.parent.glob(f"{glob.escape(Path(out).name)}.*.parts") if path != folder]
        for path in obsolete:
            shutil.rmtree(path)
        yield make_dir(folder)
        shutil.rmtree(folder)
