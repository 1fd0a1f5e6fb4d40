"""TableData: a table as batches, read and encoded once, then gathered."""

from __future__ import annotations

import copy
import json
import shutil
import sys
import tempfile
import warnings
import weakref
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated, Any, cast

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.trainer.states import TrainerFn
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from .. import values
from ..arguments import CheckedArguments, Count, Range
from ..encoders import Encoder
from ..errors import UsageError, did_you_mean, name_subject
from ..objectives import Teacher, distributed
from ..ragged import Ragged
from ..readers import Category, Reader
from ..readers.elements import ElementReader
from ..readers.matrix import MatrixReader
from ..space import checkpoint
from ..space.inference import PieceVectors
from ..space.space import Space
from .array_cache import ArrayCache
from .cache_folder import cache_folder
from .csv_columns import Type, check_types
from .csv_dialect import check_encoding
from .dataset import Batch, TableDataset
from .encoded_column import EncodedColumn
from .encoded_table import EncodedTable, fit_elements, fit_matrix
from .feature_cache import FeatureCache
from .join import IndirectColumn, JoinedRows, encode_column, find_source, reader_cells
from .number_report import report_columns
from .rows import Rows, is_text_file
from .sampler import Neighborhoods, RowBatchSampler
from .table_file import TEXT_SUFFIXES
from .trained import report_unmatched
from .unreadable import encode_readable, fill_readable, list_elements
from .vector_cache import CachedColumn, VectorCache
from .workers import ignore_signals

MAX_SEED = 2**63 - 1
MAX_WORKERS = 1_024  # far more than any machine has use for
SPLITS = "train", "dev", "test"
DEV_ELSEWHERE = {"val", "valid", "validation", "eval", "development"}  # what others call the split `dev`


class TableData(CheckedArguments, lightning.LightningDataModule):
    """A table as batches for the model of the same trainer, whose readers determine the columns.

    Args:
        table: a .jsonl, .csv or .parquet file, or a folder with `rows.*`; WebDataset shards (.tar), by a file, a folder
            or a range like `songs-{000..012}.tar`; a DataFrame, or another table that gives Arrow (polars, DuckDB,
            `datasets`); a dict of lists; or rows as dicts, in a list or from a generator. Paths in cells are relative
            to the folder of the table. A missing element of a list (null, NaN, "") is left out.
        batch_size: rows in a batch of one process.
        split: column with the split of a row: `train`, `dev` or `test`; rows with other values are ignored. Without
            this column all rows are training rows, unless `group` splits them.
        balance: columns of labels; rows are sampled so that each combination of their values is equally frequent.
        epoch_rows: rows in an epoch; the number of training rows by default.
        workers: processes that load batches; 0 (none) is fastest unless reading a row is slow.
        cache: folder for cached arrays; beside the table by default.
        seed: seed of shuffling and augmentation.
        group: column to split by, 80/10/10, if the table has no column `split`. Rows with equal cells, such as those of
            one artist, album or host, are in the same split; `id` splits row by row.
        join: tables with further columns, by the key column to look up: `{item: items.parquet}`, relative to the folder
            of `table`. Their columns are read and encoded once for each item.
        types: the types of columns of .csv files, where a guess is wrong: `{barcode: text}`. A type is text, integer,
            number or boolean. Without it a column is text unless all of its cells are numbers, or true and false, as
            they would be written here: 007, 04:17 and dates are text. NA is then a missing number.
        strict: stop at a file that cannot be read. By default its cell counts as missing, and the reason is printed.
        encoding: of .csv files that are not in Unicode, such as cp1250 or shift_jis. Without it those that look Western
            are read as Windows-1252, with a note, and others are refused.
    """

    settings_name = "data"

    def __init__(
        self,
        table: str | Any,  # not Any alone, for which jsonargparse would turn 2024 into a number
        batch_size: Count = 64,
        split: str = "split",
        balance: list[str] | None = None,
        epoch_rows: Count | None = None,
        workers: Annotated[int, Range(0, MAX_WORKERS)] = 0,
        cache: str | None = None,
        seed: Annotated[int, Range(0, MAX_SEED)] = 0,
        group: str | None = None,
        join: dict[str, str | Any] | None = None,
        types: dict[str, Type] | None = None,
        strict: bool = False,
        encoding: str | None = None,
    ) -> None:
        super().__init__()
        self.table, self.batch_size, self.split, self.balance = table, batch_size, split, list(balance or [])
        self.epoch_rows, self.workers, self.cache, self.seed = epoch_rows, workers, cache, seed
        self.group, self.join, self.types = group, dict(join or {}), dict(types or {})
        check_types(self.types)
        check_encoding(encoding)
        self.encoding = encoding
        if group is not None and split is None:
            wrong = "it is null, so that all rows are training rows, but data.group splits them"
            raise UsageError("data.split", wrong, "leave one of the two out")
        self.strict = strict
        self.rows: Rows | None = None
        self.encoded: dict[str, Ragged | EncodedColumn | IndirectColumn | CachedColumn] = {}
        self.neighborhoods = Neighborhoods()
        self._model: Any = None
        self._read: dict[str, tuple[Reader, list[Any], FeatureCache]] = {}
        self._tables: dict[int, EncodedTable] = {}
        self._features: dict[str, FeatureCache] = {}
        self.piece_vectors: dict[Encoder, PieceVectors] = {}  # of the columns whose encoders do not change

    # -- the table ----------------------------------------------------------------------------------------------------

    def open(self) -> Rows:
        """The rows of the table, read once, with the columns of the joined tables."""
        if self.rows is None:
            own = self.encoding if is_text_file(self.table) or not self.join else None
            self.rows = Rows.open(self.table, self.types, own)
            if self.join:
                self.rows = JoinedRows(self.rows, self.join, self.types, self.encoding)
            self._check_types(self.rows)
            self._check_splits(self.rows)
            if distributed.rank() == 0:
                report_unmatched(self.rows)
            if self.group and self.split not in self.rows.columns:
                self.rows = self.rows.with_split(self.group, self.split)
                counts = ", ".join(f"{split} {len(self.numbers(split))}" for split in SPLITS)
                print(
                    f"{self.rows.name}: no column {self.split}, split by {self.group}: {counts} rows", file=sys.stderr
                )
        return self.rows

    def _check_types(self, rows: Rows) -> None:
        """Check that the columns exist whose types are given, and stand in a .csv file."""
        for column in self.types:
            if column not in rows.columns:
                wrong = f"the table has no such column (it has {', '.join(rows.columns)})"
                raise UsageError(f"data.types.{column}", wrong, did_you_mean(column, rows.columns))
            name = find_source(rows, [column])[0].name
            if not name.lower().endswith(TEXT_SUFFIXES):
                wrong = f"{name} is not a .csv file, so its columns have their types already"
                raise UsageError(f"data.types.{column}", wrong, "leave it out, or convert the column")

    def _check_splits(self, rows: Rows) -> None:
        """Check that the columns exist that split the rows; without `split`, the default, all are training rows."""
        for setting, column in (("group", self.group), ("split", None if self.group else self.split)):
            if column not in (None, "split", *rows.columns):
                wrong = f"the table has no column {column} (it has {', '.join(rows.columns)})"
                raise UsageError(f"data.{setting}", wrong, did_you_mean(str(column), rows.columns))

    def state_dict(self) -> dict[str, Any]:
        """How the table was read, split and joined, so that `evaluate` can do the same; its name and sizes."""
        join = {key: str(table) for key, table in self.join.items() if isinstance(table, str | Path)}
        settings: dict[str, Any] = {
            "group": self.group,
            "join": join,
            "types": self.types,
            "encoding": self.encoding,
        }
        if self.rows is not None:
            counts = {split: len(self.numbers(split)) for split in SPLITS}
            settings |= {"table": Path(self.rows.name).name, "splits": counts}
        return {name: value for name, value in settings.items() if value}

    def folder(self) -> Path:
        """The folder of the cache."""
        rows = self.open()
        if self.cache:
            return Path(self.cache)
        if rows.root is None:
            self.cache = tempfile.mkdtemp(prefix="jointembed-")
            weakref.finalize(self, shutil.rmtree, self.cache, ignore_errors=True)
            return Path(self.cache)
        return cache_folder(rows.root)

    def numbers(self, *splits: str) -> NDArray[np.int64]:
        """The row numbers of the given splits."""
        rows = self.open()
        if self.split not in rows.columns:
            return np.arange(len(rows) if "train" in splits else 0)
        names, numbers = rows.labels(self.split)
        return np.flatnonzero(np.isin(names, splits)[numbers])

    def ids(self, numbers: NDArray[np.int64]) -> list[Any]:
        """The ids of rows: their cells in the column `id`, or their numbers in a table without it."""
        rows = self.open()
        return rows.cells_at("id", numbers) if "id" in rows.columns else numbers.tolist()

    def dicts(self, *splits: str) -> list[dict[str, Any]]:
        """The rows of the given splits as dicts, with paths resolved in the columns that the model reads as files."""
        return self.open().dicts(self.numbers(*splits) if splits else None, self._paths)

    def dicts_at(self, numbers: NDArray[np.int64], columns: Collection[str]) -> list[dict[str, Any]]:
        """Some columns of the rows of some numbers as dicts; see `dicts`."""
        return self.open().dicts(numbers, self._paths, columns)

    def splits(self, numbers: NDArray[np.int64]) -> list[str]:
        """The splits of rows."""
        rows = self.open()
        if self.split not in rows.columns:
            return ["train"] * len(numbers)
        names, splits = rows.labels(self.split)
        return [names[split] for split in splits[numbers].tolist()]

    def keys_at(
        self, column: str, numbers: NDArray[np.int64], whole: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """The keys of the elements of a column in some rows; None if only the cells can give them.

        Args:
            column: of the table, or of a joined one.
            numbers: of the rows.
            whole: a list is one element.

        Returns:
            For each element the place of its row among the numbers, and its key, (P,) each; a missing cell has none.
        """
        items, numbers_of_items = find_source(self.open(), [column])
        if not self._table(items).has_keys(column):
            return None
        rows = numbers if numbers_of_items is None else numbers_of_items[numbers]
        return self._table(items).keys_at(column, rows, whole)

    def check_columns(self, columns: Iterable[str]) -> None:
        """Check that the table has some columns.

        Raises:
            UsageError: it has not.
        """
        self._check(self.open(), columns)

    # -- Lightning's side ---------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Fit the readers on the training rows (or take them from the checkpoint), and encode the columns."""
        assert self.trainer is not None
        model: Any = self.trainer.lightning_module
        if self._model is model:
            return
        self._model, self.encoded, self._read, self._features, self.piece_vectors = model, {}, {}, {}, {}
        rows = self.open()
        readers = model.readers()
        self._paths = {column for reader, columns in readers for column in columns if reader.reads_files}
        for reader, columns in readers:
            self._check(rows, reader.columns or columns)
        self._check(rows, [*model.key_columns, *self.balance])
        if distributed.rank() == 0:
            report_columns(rows, readers)
            if self.trainer.state.fn == TrainerFn.FITTING:
                self._report_splits(rows)
        for reader, columns in readers:
            for column in columns:
                if reader.cached and column not in model.cached_columns:
                    with name_subject(column):
                        self._features[column] = FeatureCache(self.folder() / "features", reader)
                        self._fill(self._features[column], rows, column, reader, f"Reading {column}")
        self._fit(model, rows, readers)
        for reader, columns in readers:
            for column in columns:
                with name_subject(column):
                    if column in model.cached_columns:
                        self._encode_once(rows, column, reader)
                    else:
                        self._encode(rows, column, reader.for_column(column))
        for name, teacher in model.teachers.items():
            self.encoded[name] = self._ask_teacher(rows, teacher)
        ids = Category()
        for column in model.key_columns - set(self.encoded):
            items, numbers = find_source(rows, [column])
            if self._table(items).has_keys(column):
                keys = self._table(items).keys(column)
                self.encoded[column] = keys if numbers is None else IndirectColumn(keys, numbers)
                continue
            self.encoded[column] = encode_column(
                rows, column, ids, lambda cells: Ragged.keys_only(torch.from_numpy(ids.keys(cells)))
            )

    @staticmethod
    def _check(rows: Rows, columns: Iterable[str]) -> None:
        for column in columns:
            if column not in rows.columns:
                raise UsageError(
                    column,
                    f"the table has no such column (it has {', '.join(rows.columns)})",
                    did_you_mean(column, rows.columns),
                )

    def _report_splits(self, rows: Rows) -> None:
        """Warn of a split such as `val` in a table without `dev` rows: it is ignored."""
        if self.split not in rows.columns or len(self.numbers("dev")):
            return
        names, numbers = rows.labels(self.split)
        for name, count in zip(names, np.bincount(numbers, minlength=len(names)), strict=True):
            if name.casefold() in DEV_ELSEWHERE:
                wrong = f"the split {name} ({count:,} rows) is ignored, and no row has the split dev"
                print(f"warning: {rows.name}: {wrong}. Fix: rename {name} to dev", file=sys.stderr)

    def _fit(self, model: Any, rows: Rows, readers: list[tuple[Reader, list[str]]]) -> None:
        assert self.trainer is not None
        if model.built:
            return
        if self.trainer.ckpt_path:
            model.restore(checkpoint.read(Path(self.trainer.ckpt_path)))
            if self.trainer.state.fn == TrainerFn.FITTING and distributed.rank() == 0:
                self._report_new_values(rows, readers)
            return
        train = self.numbers("train")
        if self.trainer.state.fn == TrainerFn.FITTING and not len(train):
            raise UsageError(str(rows.name), f"no row has `train` in its column {self.split}", "add training rows")
        for reader, columns in readers:
            if not reader.is_fitted:
                self._fit_reader(rows, reader, columns, train)
        model.build()  # callbacks that are set up next may list the parameters

    def _fit_reader(self, rows: Rows, reader: Reader, columns: list[str], train: NDArray[np.int64]) -> None:
        if self._fit_table(rows, reader, columns, train):
            return
        cells = [reader_cells(rows, column, reader) for column in columns]
        with name_subject(", ".join(columns)):
            reader.fit([column[row] for column in cells for row in train])

    def _report_new_values(self, rows: Rows, readers: list[tuple[Reader, list[str]]]) -> None:
        """Print how many ids or words have come to the table since a run began, which does not learn them."""
        for reader, columns in readers:
            if reader.is_fitted or not (vocabulary := set(reader.vocabulary())):
                continue
            fresh = copy.deepcopy(reader)
            self._fit_reader(rows, fresh, columns, self.numbers("train"))
            if new := [value for value in fresh.vocabulary() if value not in vocabulary]:
                wrong = f"{len(new):,} values that the run did not have when it began, such as {new[0]!r}, stay unknown"
                fix = "begin a new run in another folder to learn them"
                print(f"warning: {rows.name}: {', '.join(columns)}: {wrong}. Fix: {fix}", file=sys.stderr)

    def _fit_table(self, rows: Rows, reader: Reader, columns: list[str], train: NDArray[np.int64]) -> bool:
        """Fit a reader on columns that need no object for each cell, if all of its columns are such."""
        parts = []
        for column in columns:
            items, numbers = find_source(rows, reader.columns or [column])
            if not self._table(items).supports(column, reader):
                return False
            parts.append((self._table(items), column, train if numbers is None else numbers[train]))
        if reader.reads_matrix():
            fit_matrix(cast(MatrixReader, reader), parts)
            return True
        weights = [
            (table, column, np.bincount(used, minlength=len(table.rows) + 1)[: len(table.rows)])
            for table, column, used in parts
        ]
        fit_elements(cast(ElementReader, reader), weights)
        return True

    def _table(self, rows: Rows) -> EncodedTable:
        """The encoded columns of a table, or of one that is joined with it."""
        name = id(rows)
        if name not in self._tables:
            self._tables[name] = EncodedTable(rows, self.folder())
        return self._tables[name]

    def _encode(self, rows: Rows, column: str, reader: Reader) -> None:
        items, numbers = find_source(rows, reader.columns or [column])
        if self._table(items).supports(column, reader):
            x = self._table(items).encode(column, reader)
            self.encoded[column] = x if numbers is None else IndirectColumn(x, numbers)
            return
        if not reader.cached:
            if reader.reads_files and not self.strict:
                self.encoded[column] = encode_readable(rows, column, reader)
            else:
                self.encoded[column] = encode_column(rows, column, reader, reader.encode)
            return

        def read_keys(cells: list[Any]) -> Ragged:
            return Ragged.keys_only(torch.from_numpy(reader.keys(cells)))

        self.encoded[column] = encode_column(rows, column, reader, read_keys)
        self._read[column] = reader, reader_cells(rows, column, reader), self._features[column]

    def _fill(self, cache: ArrayCache, rows: Rows, column: str, reader: Reader, title: str) -> None:
        """Fill the cache of a column."""
        if self.strict:
            cache.fill(list_elements(rows, column, reader), title)
        else:
            fill_readable(cache, rows, column, reader, title)

    def _encode_once(self, rows: Rows, column: str, reader: Reader) -> None:
        assert self.trainer is not None
        device = self.trainer.strategy.root_device
        cache = VectorCache(self.folder() / "features", self._model.space, column, device)
        title = f"Encoding {column}"
        if reader.reads_files:
            self._fill(cache, rows, column, reader, title)
        pieces = encode_column(rows, column, reader, lambda cells: cache.encode(cells, title))
        self.encoded[column] = CachedColumn(pieces, cache)
        self.piece_vectors[self._model.space.encoder(column)] = cache.piece_vectors

    def _ask_teacher(self, rows: Rows, teacher: Teacher) -> Ragged | IndirectColumn:
        """A column whose values are the vectors (P, D) of a teacher, one for each row with a cell."""
        assert self.trainer is not None
        space, column = Space.load(teacher.checkpoint), teacher.column
        reader = space.reader(column)
        self._check(rows, reader.columns or [teacher.source])
        cache = VectorCache(self.folder() / "features", space, column, self.trainer.strategy.root_device)

        def encode(cells: list[Any]) -> Ragged:
            cache.encode(cells, f"Encoding {teacher.source}")
            present = [row for row, cell in enumerate(cells) if not values.missing(cell)]
            caches: dict[Encoder, PieceVectors] = {space.encoder(column): cache.piece_vectors}
            vectors = space.embed(column, [cells[row] for row in present], piece_vectors=caches, normalize=False)
            return Ragged(
                torch.from_numpy(vectors),
                torch.tensor(present, dtype=torch.int64),
                torch.from_numpy(reader.keys(cells)),
            )

        return encode_column(rows, teacher.source, reader, encode)

    def load(self, reader: Reader, element: Any) -> Any:
        """The array of `reader.preprocess(element)`, from the cache if it is there; for `Space.embed`."""
        for own, _, features in self._read.values():
            if own is reader:
                return features(reader, element)
        return reader.preprocess(element)

    def _groups(self, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
        if not self.balance:
            return None
        labels = [self.open().labels(column) for column in self.balance]
        codes = np.stack([numbers[rows] for _, numbers in labels], axis=1)
        combinations, group = np.unique(codes, axis=0, return_inverse=True)
        names = [json.dumps([labels[at][0][code] for at, code in enumerate(row)]) for row in combinations.tolist()]
        return np.argsort(np.argsort(names))[group.ravel()]  # in the order of their names

    def _loader(self, rows: NDArray[np.int64], train: bool) -> DataLoader[Batch]:
        groups = self._groups(rows) if train else None
        overfit = bool(getattr(self.trainer, "overfit_batches", 0))
        settings = self.seed, groups, self.epoch_rows, overfit, self.neighborhoods
        sampler = RowBatchSampler(rows, self.batch_size, train, *settings)
        return DataLoader(
            TableDataset(self.encoded, self._read, self.seed, train),
            sampler=sampler,
            batch_size=None,  # the sampler yields whole batches
            num_workers=self.workers,
            worker_init_fn=ignore_signals if self.workers else None,
            generator=torch.Generator().manual_seed(self.seed),  # else iterators draw from that of the training
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled batches of the training rows."""
        return self._loader(self.numbers("train"), True)

    def ordered_train_dataloader(self) -> DataLoader[Batch]:
        """The training rows in their order, each once, and as in an evaluation."""
        return self._loader(self.numbers("train"), False)

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """The `dev` rows, each once; an empty list without such rows."""
        rows = self.numbers("dev")
        if len(rows):
            return self._loader(rows, False)
        warnings.filterwarnings("ignore", "Total length of `list`")  # an empty list is intended
        return []

    def test_dataloader(self) -> DataLoader[Batch]:
        """The `test` rows, each once."""
        rows = self.numbers("test")
        if not len(rows):
            raise UsageError(str(self.open().name), f"no row has `test` in its column {self.split}", "add such rows")
        return self._loader(rows, False)

    def predict_dataloader(self) -> DataLoader[Batch]:
        """All rows in their order."""
        return self._loader(np.arange(len(self.open())), False)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move the columns to a device."""
        if device.type == "cpu":
            return batch
        moved = Batch({column: x.to(device, non_blocking=True) for column, x in batch.items()})
        moved.rows = batch.rows
        return moved

    def steps(self, trainer: Any) -> int:
        """The number of optimizer steps in a run."""
        batches = len(self.train_dataloader().sampler)  # type: ignore[arg-type]
        limit = trainer.limit_train_batches
        batches = max(1, min(batches, limit) if isinstance(limit, int) else int(batches * limit))
        constant = GradientAccumulationScheduler({0: int(trainer.accumulate_grad_batches)})
        schedulers = [item for item in trainer.callbacks if isinstance(item, GradientAccumulationScheduler)]
        accumulated = [*schedulers, constant][0].get_accumulate_grad_batches
        steps = sum(-(-batches // accumulated(epoch)) for epoch in range(int(trainer.max_epochs or 1000)))
        max_steps = int(trainer.max_steps)
        return min(steps, max_steps) if max_steps > 0 and steps > 0 else max(steps, max_steps)
