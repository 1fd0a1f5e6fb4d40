"""Conditions over the metadata of an index, against the SQL that says what they mean."""

import random
import threading

import numpy as np
import pytest
from where_sql import matching_keys

from jointembed.index.index import Index
from jointembed.index.metadata import Metadata
from jointembed.index.where import parse

NUMBERS = [
    0,
    -0.0,
    1,
    1.0,
    -1,
    0.1,
    0.30000000000000004,
    2**53,
    2**53 + 1,
    2.0**53,
    2**63 - 1,
    2.0**63,
    -(2**63),
    2**70,
]
NUMBERS += [1e300, -1e300, 5e-324, 123456789.123456789, 7, 7.5, -7]
TEXTS = [
    "",
    "a",
    "A",
    "ab",
    "Ab%",
    "a_b",
    "Ä",
    "ä",
    "é",
    "e\u0301",
    "日本",
    "日",
    "😀",
    "\uffff",
    "\U00010000",
    "true",
    "1",
]
TEXTS += [
    "null",
    "a'b",
    'a"b',
    "a\\b",
    "a\nb",
    "\x01",  # a text with a NUL ends there for SQLite, but not for an index
    "[1]",
    "caf\udce9",
    "\udcff",
    "\ud800x",
    "zz" * 40,
]
NAMES = ["one", "two words", "ключ", "list", "id"]


def cell(rng, deep=True):
    kinds = ["number", "text", "number", "text", "bool", "null"] + ["list", "dict"] * deep
    kind = rng.choice(kinds)
    if kind == "list":
        return [cell(rng, False) if rng.random() < 0.8 else rng.choice([[1], {}, []]) for _ in range(rng.randrange(4))]
    if kind == "dict":
        return {rng.choice(["a", "1", ""]): cell(rng, False)}
    return {
        "number": rng.choice(NUMBERS + [rng.randrange(-5, 5), rng.uniform(-9, 9)]),
        "text": rng.choice(TEXTS),
        "bool": rng.random() < 0.5,
        "null": None,
    }[kind]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    rng = random.Random(0)
    rows = []
    for at in range(500):
        id = rng.choice(TEXTS[1:]).replace("\ud800", "") + str(at)
        rows.append({"id": id, **{name: cell(rng) for name in NAMES[:-1] if rng.random() < 0.9}})
    with Index.create(tmp_path_factory.mktemp("cells") / "a.index", 1, "euclidean") as index:
        index.add(rows, np.zeros((len(rows), 1), np.float32), "x")
        index.remove([row["id"] for row in rows[::17]])  # numbers with gaps
        yield index


def written(value):
    if isinstance(value, bool):
        return str(value).lower()
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value).replace("inf", "9e999")


def value(rng, is_text=False):
    sayable = [text for text in TEXTS if "\0" not in text and not any("\ud800" <= sign <= "\udfff" for sign in text)]
    if is_text:
        return rng.choice(sayable)
    return rng.choice([rng.choice(NUMBERS), rng.choice(sayable), rng.random() < 0.5, rng.randrange(-5, 5), 1e308 * 10])


def pattern(rng):
    return "".join(
        rng.choice(["%", "_", "a", "A", "b", "Ä", "é", "日", "\n", "z", "\\"]) for _ in range(rng.randrange(5))
    )


def condition(rng, depth=3):
    if depth and rng.random() < 0.5:
        left, right = condition(rng, depth - 1), condition(rng, depth - 1)
        return rng.choice([f"({left} and {right})", f"({left} or {right})", f"not {left}"])
    name = f'"{rng.choice(NAMES)}"'
    how = rng.choice(["=", "!=", "<", "<=", ">", ">=", "in", "not in", "like", "not like", "is null", "is not null"])
    if how.startswith("is"):
        return f"{name} {how}"
    if how.endswith("like"):
        return f"{name} {how} {written(pattern(rng))}"
    is_id = name == '"id"'  # each is a text, so that other values are refused
    if how.endswith("in"):
        return f"{name} {how} ({', '.join(written(value(rng, is_id)) for _ in range(rng.randrange(1, 5)))})"
    sought = value(rng, is_id)
    while isinstance(sought, bool) and how not in ("=", "!="):
        sought = value(rng)
    return f"{name} {how} {written(sought)}"


def found_keys(index, where):
    with index.reading() as snapshot:
        return snapshot.matching_keys(where).tolist()


@pytest.mark.parametrize(
    "count", [1000, pytest.param(3000, marks=pytest.mark.slow), pytest.param(100_000, marks=pytest.mark.slow)]
)
def test_conditions_mean_what_their_sql_says(index, count):
    rng, met = random.Random(count), 0
    for _ in range(count):
        where = condition(rng)
        expected = matching_keys(index, where)
        assert found_keys(index, where) == expected, where
        met += 0 < len(expected) < len(index)
    assert met > count / 2


def test_columns_beyond_the_memory_limit_are_loaded_again(index):
    with index.reading() as snapshot:
        metadata = Metadata(index.backend, max_bytes=1000)
        for where in ("one = 1 or list = 'a' or \"two words\" < 'b'", "one in (7, 'a')"):
            for _ in range(2):
                keys = metadata.matching_keys(parse(where, snapshot.info.columns))
                assert keys.tolist() == matching_keys(index, where)


def test_condition_sees_what_was_just_written(tmp_path):
    with Index.create(tmp_path / "a.index", 1, "euclidean") as index, Index.open(index.path) as right:
        for at in range(4):
            index.add([{"id": str(at), "tempo": at}], np.zeros((1, 1), np.float32), "x")
            for left in (index, right):
                for _ in range(3):
                    assert [hit.id for hit in left.search(np.zeros(1), 9, where="tempo >= 1")] == list("123")[:at]


def test_threads_that_ask_at_once_find_the_same(index):
    conditions = [condition(random.Random(seed)) for seed in range(60)]
    expected = [matching_keys(index, where) for where in conditions]
    wrong = []

    def ask():
        with Index.open(index.path) as own:
            for shared in (own, index):
                wrong.extend(
                    where for where, keys in zip(conditions, expected, strict=True) if found_keys(shared, where) != keys
                )

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
