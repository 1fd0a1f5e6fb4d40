"""Embed a table of any size on many machines with Ray Data: tasks decode sounds, actors compute vectors.

    python recipes/scale/embed_ray.py RUN songs.parquet vectors --actors 2
    python recipes/scale/embed_ray.py RUN s3://bucket/songs s3://bucket/vectors --actors 8 --gpus 1

RUN is a checkpoint or the folder of a run; only this machine has to have it. TABLE is Parquet that every machine can
read, a file, a folder or a bucket, with an `id` that no two rows share and the columns that the model reads. A sound or
a picture is a path that every machine can read, bytes, or a struct of `bytes` and `path`. OUT/vectors is Parquet with
`id`, `vector` and `error`, a row for each row of TABLE: `error` says why a row has no vector.

Stop it at any time and run it again: the rows in OUT are not computed twice. A vector has the same bits as that of
`jointembed embed` on the same kind of processor.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import dataset, fs

from jointembed import Space, audio, files, recipe_tools
from jointembed.errors import MismatchError, UsageError, UserError, did_you_mean
from jointembed.space.device import resolve_device
from jointembed.values import missing

BATCH_ROWS = 32
SAMPLES, ERROR = "samples", "error"  # columns that the rows get on their way


def main() -> None:
    options = _parse_arguments()
    file = files.checkpoint(options.model)
    space = Space.load(file, options.trust)
    column = options.column or next(iter(space.columns))
    names = space.input_columns(column)
    table_store, table = _open_store(options.table)
    store, folder = _open_store(options.out)
    _check_table(table_store, table, names)
    settings = {"column": column, "model": space.fingerprint, "metric": space.metric, "dim": space.dim}
    _remember(store, folder, {**settings, "max_windows": options.max_windows})

    try:
        import ray
    except ModuleNotFoundError as error:
        raise UsageError("Ray", "it is not installed", 'pip install "ray[data]"') from error
    from ray.data import DataContext
    from ray.data.checkpoint import CheckpointConfig

    ray.init(include_dashboard=False, log_to_driver=False, logging_level="warning")
    if ray.cluster_resources().get("CPU", 0) < 2:
        raise UsageError("Ray", "it has one CPU, and needs two", "use `jointembed embed` on this machine")
    context = DataContext.get_current()
    context.enable_progress_bars = sys.stderr.isatty()
    # Ray's actors that filter out finished rows would take every CPU of a small machine.
    CheckpointConfig.CHECKPOINT_ACTOR_POOL_MAX_SIZE = 1
    context.checkpoint_config = CheckpointConfig(
        "id", f"{folder}/done", override_filesystem=store, delete_checkpoint_on_success=False
    )
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    rows = ray.data.read_parquet(table, filesystem=table_store).select_columns(list(dict.fromkeys(["id", *names])))
    rows = rows.repartition(target_num_rows_per_block=options.rows)
    rate = None if column in space.fusions else space.reader(column).sample_rate
    if rate:
        decode = {"column": column, "rate": rate, "root": options.root}
        rows = rows.map_batches(decode_sounds, batch_size=BATCH_ROWS, batch_format="pyarrow", fn_kwargs=decode)
    embedded = rows.map_batches(
        Embed,
        batch_size=BATCH_ROWS,
        batch_format="pyarrow",
        num_cpus=0,  # or actors that take all CPUs would wait forever for the tasks that feed them
        num_gpus=options.gpus,
        compute=ray.data.ActorPoolStrategy(size=options.actors),
        fn_constructor_args=(file.read_bytes(), column, options.root, options.max_windows, options.trust),
    )
    embedded.write_parquet(f"{folder}/vectors", filesystem=store)
    written = dataset.dataset(f"{folder}/vectors", filesystem=store, format="parquet")
    failed = written.count_rows(filter=~dataset.field("error").is_null())
    print(f"{folder}/vectors: {written.count_rows() - failed:,} vectors of {column}, {space.dim} dimensions")
    if failed:
        print(f"{failed:,} rows have no vector: see the column error")


def decode_sounds(rows: pa.Table, column: str, rate: int, root: str) -> pa.Table:
    """Replace the sounds of a column by the bytes of float32 samples at `rate`, or by the reason in `error`."""
    samples: list[bytes | None] = []
    errors: list[str | None] = []
    for cell in rows[column].to_pylist():
        error = sound = None
        try:
            sound = None if cell is None else audio.load(_locate(cell, root), rate).tobytes()
        except UserError as reason:
            error = str(reason)
        samples.append(sound)
        errors.append(error)
    rows = rows.drop_columns([column]).append_column(SAMPLES, pa.array(samples, pa.large_binary()))
    return rows.append_column(ERROR, pa.array(errors, pa.string()))


class Embed:
    """An actor: rows -> their `id`, `vector` and `error`.

    Args:
        checkpoint: the bytes of the model.
        column: of the model.
        root: the folder that relative paths start from.
        max_windows: of a long sound, see `Space.embed`.
        trust: packages whose encoders and readers the model may import.
    """

    def __init__(
        self, checkpoint: bytes, column: str, root: str, max_windows: int | None, trust: Sequence[str]
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.ckpt"
            file.write_bytes(checkpoint)
            self.space = Space.load(file, trust).to(resolve_device("auto"))
        self.column, self.root, self.max_windows = column, root, max_windows

    def __call__(self, rows: pa.Table) -> pa.Table:
        if SAMPLES in rows.column_names:
            errors = rows[ERROR].to_pylist()
            cells = [None if sound is None else np.frombuffer(sound, np.float32) for sound in rows[SAMPLES].to_pylist()]
        else:
            errors = [None] * len(rows)
            cells = [self._compose_cell(row) for row in rows.to_pylist()]
        errors = [
            error or ("the cell is missing" if missing(cell) else None)
            for error, cell in zip(errors, cells, strict=True)
        ]
        vectors: list[Any] = [None] * len(rows)
        usable = [at for at, error in enumerate(errors) if error is None]
        for at, result in zip(usable, self._embed([cells[at] for at in usable]), strict=True):
            if isinstance(result, UserError):
                errors[at] = str(result)
            else:
                vectors[at] = result
        vector_type = pa.list_(pa.float32(), self.space.dim)
        columns = [rows["id"], pa.array(vectors, vector_type), pa.array(errors, pa.string())]
        return pa.table(columns, ["id", "vector", ERROR])

    def _compose_cell(self, row: dict[str, Any]) -> Any:
        readers = {column: reader for reader, columns in self.space.readers() for column in columns}
        for name, cell in row.items():
            if name in readers and readers[name].reads_files:
                row[name] = _locate(cell, self.root)
        self.space.compose_cells([row], self.column)
        return row.get(self.column)

    def _embed(self, cells: list[Any]) -> list[Any]:
        """The vector of each cell, or its error; a cell that fails is found by halving."""
        if not cells:
            return []
        try:
            return list(self.space.embed(self.column, cells, max_windows=self.max_windows))
        except UserError as error:
            half = len(cells) // 2
            return [*self._embed(cells[:half]), *self._embed(cells[half:])] if half else [error]


def _locate(cell: Any, root: str) -> Any:
    """A path with its folder; the bytes of a struct of `bytes` and `path` that has them; anything else as it is."""
    if isinstance(cell, dict):
        return cell["bytes"] if cell.get("bytes") is not None else _locate(cell.get("path"), root)
    return os.path.join(root, cell) if isinstance(cell, str) else cell


def _open_store(place: str) -> tuple[fs.FileSystem, str]:
    """The file system of a path or an address, and the path in it."""
    try:
        store, path = fs.FileSystem.from_uri(place if "://" in place else os.path.abspath(place))
    except (OSError, pa.ArrowInvalid) as error:
        raise UsageError(
            place, f"it is not an address of a store ({error})", "write it like s3://bucket/folder"
        ) from error
    return store, path


def _check_table(store: fs.FileSystem, table: str, names: Sequence[str]) -> None:
    try:
        columns = dataset.dataset(table, filesystem=store, format="parquet").schema.names
    except (OSError, pa.ArrowInvalid) as error:
        raise UsageError(
            table, f"it cannot be read as Parquet ({error})", "check the path and its permissions"
        ) from error
    for name in ["id", *names]:
        if name not in columns:
            raise UsageError(table, f"it has no column {name}", did_you_mean(name, columns))


def _remember(store: fs.FileSystem, folder: str, settings: dict[str, Any]) -> None:
    """Write the settings of the vectors into the folder, or check that they are those of the vectors in it.

    Raises:
        MismatchError: the folder has vectors of other settings.
    """
    path = f"{folder}/vectors.json"
    if store.get_file_info(path).type == fs.FileType.File:
        with store.open_input_stream(path) as file:
            present = json.loads(file.read())
        if present != settings:
            name = next(name for name in settings if present.get(name) != settings[name])
            wrong = f"its vectors have the {name} {present.get(name)}, not {settings[name]}"
            raise MismatchError(folder, wrong, "write to another folder")
        return
    store.create_dir(folder)
    with store.open_output_stream(path) as file:
        file.write(json.dumps(settings).encode())


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="RUN")
    parser.add_argument("table", metavar="TABLE")
    parser.add_argument("out", metavar="OUT")
    parser.add_argument("--column", help="of the model; the first if not given")
    parser.add_argument("--root", default="", help="the folder that relative paths start from; this one if not given")
    parser.add_argument("--actors", type=int, default=1, help="processes that compute vectors (default: 1)")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs of each of them (default: 0)")
    parser.add_argument("--max-windows", type=int, help="embed at most this many windows of a long sound")
    parser.add_argument("--rows", type=int, default=4096, help="rows a file: what a stop costs at most (default: 4096)")
    parser.add_argument("--trust", nargs="*", default=[], help="packages whose encoders the model may import")
    options = parser.parse_args()
    for name in ("actors", "rows", "max_windows"):
        number = getattr(options, name)
        if number is not None and number < 1:
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(flag, f"must be at least 1, got {number}", "use a positive integer")
    options.root = os.path.abspath(options.root)
    return options


if __name__ == "__main__":
    recipe_tools.run_script(main)
