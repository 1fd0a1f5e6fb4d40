"""Decimals, durations, UUIDs and times of any table are cells that every reader, condition and command takes."""

import datetime
from decimal import Decimal
from uuid import UUID

import numpy as np
import pandas
import pyarrow as pa
import pytest
from pyarrow import parquet

from jointembed import Category, Index, Numbers
from jointembed.__main__ import main
from jointembed.data.rows import Rows
from jointembed.values import key

N = 12
MOMENT = datetime.datetime(2020, 1, 1, 12, 30)
COLUMNS = {
    "id": [Decimal(at) for at in range(N)],
    "price": [Decimal(f"{at}.25") for at in range(N)],
    "genre": [UUID(int=at % 2) for at in range(N)],
    "length": [datetime.timedelta(seconds=at, milliseconds=500) for at in range(N)],
    "prices": [[Decimal("1.5"), Decimal(at)] for at in range(N)],
    "labels": [[UUID(int=1), UUID(int=2)]] * N,
    "parts": [{"price": Decimal("0.5"), "length": datetime.timedelta(minutes=1)}] * N,
}
PLAIN = {
    "id": list(range(N)),
    "price": [at + 0.25 for at in range(N)],
    "genre": [str(UUID(int=at % 2)) for at in range(N)],
    "length": [at + 0.5 for at in range(N)],
    "prices": [[1.5, at] for at in range(N)],
    "labels": [[str(UUID(int=1)), str(UUID(int=2))]] * N,
    "parts": [{"price": 0.5, "length": 60.0}] * N,
}


def arrow():
    uuids, bytes_of = pa.uuid(), lambda ids: [id.bytes for id in ids]
    return pa.table(
        {
            "id": pa.array(COLUMNS["id"], pa.decimal128(38, 0)),
            "price": pa.array([*COLUMNS["price"][:-1], None], pa.decimal128(10, 2)),
            "genre": pa.array(bytes_of(COLUMNS["genre"]), uuids),
            "length": pa.array(COLUMNS["length"], pa.duration("ms")),
            "prices": pa.array(COLUMNS["prices"]),
            "labels": pa.array(list(map(bytes_of, COLUMNS["labels"])), pa.list_(pa.binary(16))).cast(pa.list_(uuids)),
            "parts": pa.array(COLUMNS["parts"]),
        }
    )


def write_parquet(folder):
    parquet.write_table(arrow(), folder / "rows.parquet")
    return folder / "rows.parquet"


SOURCES = {
    "parquet": write_parquet,
    "arrow": lambda _: arrow(),
    "DataFrame": lambda _: pandas.DataFrame(COLUMNS).assign(price=[*COLUMNS["price"][:-1], None]),
    "dicts": lambda _: [
        dict(zip(COLUMNS, row, strict=True)) | ({"price": None} if at == N - 1 else {})
        for at, row in enumerate(zip(*COLUMNS.values(), strict=True))
    ],
}


@pytest.mark.parametrize("source", SOURCES)
def test_cells_of_every_source_are_plain(source, tmp_path):
    rows = Rows.open(SOURCES[source](tmp_path))
    expected = PLAIN | {"price": [*PLAIN["price"][:-1], None]}
    for name in COLUMNS:
        assert [key(cell) for cell in rows.cells(name)] == [key(cell) for cell in expected[name]], name
        assert [key(cell) for cell in COLUMNS[name]] == [key(cell) for cell in PLAIN[name]], name
    genre, price = Category(), Numbers()
    genre.fit(rows.cells("genre"))
    price.fit(rows.cells("price"))
    assert genre.vocabulary() == sorted(set(PLAIN["genre"])) and price.encode(rows.cells("price")).rows.shape == (
        N - 1,
    )


def test_times_finer_than_a_microsecond_are_read():
    cells = pa.array([1_577_881_800_000_000_001], pa.timestamp("ns"))
    assert Rows.open(pa.table({"at": cells})).cells("at") == [MOMENT]


def test_init_and_index_take_such_a_table(tmp_path, capsys):
    table = write_parquet(tmp_path)
    assert main(["init", str(table), "--out", str(tmp_path / "my.yaml")]) == 0
    kinds = dict(line.split()[:2] for line in capsys.readouterr().out.splitlines() if len(line.split()) > 2)
    assert kinds["genre"] == "label" and kinds["price"] == "number" and kinds["length"] == "number"
    with Index.create(tmp_path / "a.index", N, "cosine") as index:
        for rows in (SOURCES["dicts"](tmp_path), Rows.open(table).dicts()):
            index.add([{**row, "id": str(row["id"])} for row in rows], np.eye(N, dtype=np.float32), "audio")
            for where, count in (
                ("price > 8", 3), ("length <= 2.5", 3), (f"genre = '{UUID(int=1)}'", 6), ("price is null", 1)
            ):  # fmt: skip
                assert index.count(where) == count, where
