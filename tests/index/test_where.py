import operator
import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jointembed.errors import UsageError
from jointembed.index.index import Index
from jointembed.index.where import MAX_CHARS, MAX_COMPARISONS, MAX_DEPTH, parse

ROWS = [
    {"id": "a", "genre": "waltz", "tempo": 120, "artist": "Anna", "tags": ["slow", "old"], "live": True},
    {"id": "b", "genre": "polka", "tempo": 140.5, "artist": "Ben", "tags": "slow", "live": False},
    {"id": "c", "genre": "Waltz", "tempo": "fast", "artist": "a%_'b", "tags": [], "live": 1},
    {"id": "d", "genre": None, "tempo": -5, "artist": "Ärzte", "tags": [1, "x", None], "facts": {"tempo": 120}},
    {"id": "e", "tempo": 2**70, "artist": 'q"\\', "two words": "yes", "ключ": 1, "दिल": 2, "select": 3, "and": "kept"},
]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    with Index.create(tmp_path_factory.mktemp("where") / "a.index", 2, "cosine") as index:
        index.add(ROWS, np.tile(np.float32([1, 0]), (len(ROWS), 1)), "x")
        yield index


def ids(index, where):
    return "".join(hit.id for hit in index.search(np.array([1, 0]), 10, where=where))


EXPECTED = {
    "genre = 'waltz'": "a",
    "genre == 'waltz'": "a",
    "GENRE = 'waltz'": None,
    "दिल = 2": "e",
    "दाल = 2": None,
    "genre != 'waltz'": "bcde",
    "genre <> 'waltz' and genre is not null": "bc",
    "tempo > 120": "be",
    "tempo>=120 and tempo<141": "ab",
    "tempo = 140.5 or tempo = -5": "bd",
    "tempo < 'g'": "c",
    "tempo = 'fast'": "c",
    "tempo = 1.2e2": "a",
    "genre like 'wal%'": "ac",
    "genre not like 'wal%'": "bde",
    "tags has 'slow'": "ab",
    "tags not has 'slow' or tags has 1": "cde",
    "artist like 'a%'": "ac",
    "artist like 'ärzte'": "d",
    "artist like 'A\u0308RZ%'": "d",
    "artist like '_RZTE'": "d",
    "artist = 'a%_''b'": "c",
    "artist like '%\"%'": "e",
    "genre in ('waltz', 'polka')": "ab",
    "tempo in (120, 'fast', -5.0)": "acd",
    "genre not in ('waltz', 'polka')": "cde",
    "tags = 'slow'": "ab",
    "tags = 'old' or tags = 1": "ad",
    "tags is null": "e",
    "genre is null": "de",
    "not genre is null": "abc",
    "not (genre = 'waltz' or tempo > 130)": "cd",
    "genre = 'waltz' or genre = 'polka' and tempo > 900": "a",
    "(genre = 'waltz' or genre = 'polka') and tempo > 130": "b",
    "live = true": "a",
    "live = false": "b",
    "live = 1": "c",
    "live in (true, 1)": "ac",
    "facts = 120": "",
    "facts is not null": "d",
    "id = 'b' or id like 'C'": "bc",
    "id is null": "",
    "\"two words\" = 'yes'": "e",
    "ключ = 1": "e",
    "select = 3": "e",
    "\"and\" = 'kept'": "e",
    "  tempo\n>\t120  ": "be",
    "genre = 'waltz' AND NOT tempo IS NULL": "a",
}


@pytest.mark.parametrize("where", EXPECTED)
def test_conditions(index, where):
    if EXPECTED[where] is None:
        with pytest.raises(UsageError, match="no row has the column"):
            ids(index, where)
    else:
        assert ids(index, where) == EXPECTED[where]


REFUSED = [
    "",
    " ",
    "genre",
    "genre =",
    "= 'waltz'",
    "genre = waltz",
    'genre = "waltz"',
    "genre = 'waltz",
    "genre = 'a' 'b'",
    "genre = null",
    "120 < tempo",
    "tempo > 12x",
    "tempo > 1e",
    "tempo = 0x10",
    "genre like 3",
    "genre in ()",
    "genre in 'a'",
    "genre in ('a',)",
    "(genre = 'a'",
    "genre = 'a')",
    "genre = 'a' and",
    "or genre = 'a'",
    "not",
    "genre not = 'a'",
    "live > true",
    "unknown = 1",
    "tempo = tempo",
    "tempo + 1 > 3",
    "length(genre) > 3",
    "genre is 'a'",
    "genre = 'a';",
    "genre = 'a'; DROP TABLE rows",
    "genre = 'a' -- x",
    "genre = 'a' /* x */",
    "1=1",
    "genre = 'a' or 1=1",
    "genre = 'a' or 1",
    "genre = 'a' UNION SELECT * FROM meta",
    "rows.genre = 'a'",
    "genre = (select 1)",
    "exists (select 1)",
    "genre = ?",
    "genre = :a",
    "genre = $1",
    "genre = x'00'",
    "genre like 'a' escape '!'",
    "genre between 1 and 2",
    "genre glob 'a*'",
    "genre match 'a'",
    "genre = 'a' collate nocase",
    "cast(genre as text) = 'a'",
    "columns = 'x'",
    "number = 1",
    "`genre` = 'a'",
    "[genre] = 'a'",
    "genre = 'a\0'",
    "genre = '\ud800'",
    "tempo > --5",
    "tempo > + 5",
    "genre ||'a' = 'a'",
    "load_extension('x')",
    '"" = 1',
    "not " * MAX_DEPTH + "tempo = 1",
    "(" * MAX_DEPTH + "tempo = 1" + ")" * MAX_DEPTH,
    " or ".join(["tempo = 1"] * (MAX_COMPARISONS + 1)),
    "genre = '" + "a" * MAX_CHARS + "'",
    "(" * 9_999,
    "genre = 'a' \u2028\u0000",
]


@pytest.mark.parametrize("where", REFUSED)
def test_what_is_no_condition_is_refused_in_one_line(index, where):
    with pytest.raises(UsageError) as failure:
        ids(index, where)
    assert "\n" not in str(failure.value) and "sqlite" not in str(failure.value).lower()


@pytest.mark.parametrize(
    "where, place", [("genre = ", 9), ("tempo > 1 and ?", 15), ("unknown = 1", 1), ("genre is 3", 10)]
)
def test_a_refusal_names_the_place(index, where, place):
    with pytest.raises(UsageError, match=f"at character {place}:"):
        ids(index, where)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (
            "year > 1990",
            "every cell of the column year is text, and 1990 is a number. Fix: write '1990' in quotes: texts",
        ),
        ("year != 1990", "write '1990' in quotes"),
        ("year in (1990, true)", "write '1990' in quotes"),
        (
            "tempo = 'fast'",
            "every cell of the column tempo is a number, and 'fast' is text. Fix: write a number without",
        ),
        ("not tempo like '1%'", "Fix: compare by =, <, <=, > or >="),
        (
            "live = 'true'",
            "every cell of the column live is true or false, and 'true' is text. Fix: write true or false",
        ),
        ("live = 1 or tempo > 1", "write true or false without quotes"),
        ("id = 5", "every cell of the column id is text"),
    ],
)
def test_a_value_of_another_type_than_the_column_is_refused_with_how_to_compare(tmp_path, where, message):
    rows = [{"id": "a", "year": "1990", "tempo": 120, "live": True}, {"id": "b", "year": ["1991"], "tempo": 9.5}]
    with Index.create(tmp_path / "a.index", 2, "cosine") as index:
        index.add(rows, np.tile(np.float32([1, 0]), (2, 1)), "x")
        with pytest.raises(UsageError) as error:
            ids(index, where)
        assert message in str(error.value)
        assert ids(index, "year > '1990' and (tempo < 10 or live = true)") == "b"
        index.update([{"id": "b", "year": 1991}])  # of both types: each cell is compared with values of its own
        assert ids(index, "year > 1990") == "b" and ids(index, "year = '1990'") == "a"


def test_the_largest_conditions_are_answered(index):
    assert ids(index, " or ".join(["tempo = 120"] * MAX_COMPARISONS)) == "a"
    deep = MAX_DEPTH - 1
    assert ids(index, "not " * deep + "tempo = 120") == "bcde"
    for opening in ("(", "(tempo = 9 or tempo = 8 or tempo = 120 and ", "(tempo in (9, 8) or tempo not like '9' and "):
        assert ids(index, opening * deep + "tempo = 120" + ")" * deep) == "a"
    assert ids(index, "not (" * (deep // 2) + "tempo = 120" + ")" * (deep // 2)) == "bcde"
    assert ids(index, "tempo in (" + ",".join(["9"] * 4_000 + ["120"]) + ")") == "a"
    assert ids(index, "tempo < " + "9" * 5_000) == "abde"
    assert ids(index, "artist like '" + "%" * 9_000 + "'") == "abcde"


def test_names_and_values_are_never_commands(index):
    assert ids(index, "genre = 'x''); DROP TABLE rows; --' or tempo > 3") != "" and len(index) == 5
    for name in ('a"b', "a\\b", "a\nb"):
        with pytest.raises(UsageError):
            parse('"{}" = 1'.format(name.replace('"', '""')), [name])


NUMBERS = st.integers(-200, 200) | st.sampled_from([140.5, 120.0, 2.0**70, -5.5])
TEXTS = st.sampled_from(["waltz", "Anna", "slow", "x", "fast", "a%_'b", "Ä", ""]) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4
)
COLUMNS = st.sampled_from(["id", "genre", "tempo", "artist", "tags", "live", "two words", "facts"])
COMPARE = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def written(value):
    if isinstance(value, bool):
        return str(value).lower()
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


def elements(row, name):
    cell = row.get(name)
    return cell if isinstance(cell, list) else [] if isinstance(cell, dict) else [cell]


def kind(value):
    return bool if isinstance(value, bool) else str if isinstance(value, str) else float if value is not None else None


def alike(cell, pattern):
    composed = unicodedata.normalize("NFC", pattern)
    regex = "".join({"%": ".*", "_": "."}.get(sign, re.escape(sign)) for sign in composed)
    if not isinstance(cell, str):
        return False
    return re.fullmatch(regex, unicodedata.normalize("NFC", cell), re.DOTALL | re.IGNORECASE) is not None


def any_element(name, test):
    return lambda row: any(test(element) for element in elements(row, name))


@st.composite
def comparisons(draw):
    name = draw(COLUMNS)
    column, shape = f'"{name}"', draw(st.sampled_from(["compare", "like", "in", "null"]))
    if shape == "null":
        return f"{column} is null", lambda row: row.get(name) is None, False
    if shape == "like":
        pattern = draw(TEXTS | st.text("wWaA%_", max_size=5))
        test = any_element(name, lambda element: alike(element, pattern))
        return f"{column} like {written(pattern)}", test, is_refused(name, [pattern])
    values = draw(st.lists(NUMBERS | TEXTS | st.booleans(), min_size=1, max_size=4))
    if shape == "in":
        text = f"{column} in ({', '.join(map(written, values))})"
        test = any_element(
            name, lambda element: any(kind(element) == kind(value) and element == value for value in values)
        )
        return text, test, is_refused(name, values)
    sign = draw(st.sampled_from(sorted(COMPARE))) if kind(values[0]) is not bool else "="
    text = f"{column} {sign} {written(values[0])}"
    test = any_element(name, lambda element: kind(element) == kind(values[0]) and COMPARE[sign](element, values[0]))
    return text, test, is_refused(name, values[:1])


def is_refused(name, values):
    """Whether no value has the type of any cell."""
    kinds = {kind(element) for row in ROWS for element in elements(row, name)} - {None}
    return name != "facts" and kinds.isdisjoint(map(kind, values))


def join(pair):
    (left, first, first_refused), (right, second, second_refused), how = pair
    refused = first_refused or second_refused
    if how == "and":
        return f"{left} and ({right})", lambda row: first(row) and second(row), refused
    if how == "or":
        return f"({left} or {right})", lambda row: first(row) or second(row), refused
    return f"not ({left})", lambda row: not first(row), first_refused


BRACKETS = comparisons().map(lambda element: (f"({element[0]})", *element[1:]))
HOW = st.sampled_from(["and", "or", "not"])
CONDITIONS = st.recursive(BRACKETS, lambda inner: st.tuples(inner, inner, HOW).map(join), max_leaves=8)


@settings(max_examples=300, deadline=None)
@given(CONDITIONS)
def test_a_condition_is_the_filter_that_python_would_be(index, condition):
    text, allowed, refused = condition
    if refused:
        with pytest.raises(UsageError, match="every cell of the column"):
            ids(index, text)
    else:
        assert ids(index, text) == "".join(row["id"] for row in ROWS if allowed(row))


TABLE = [
    "genre",
    "tempo",
    "'",
    "''",
    '"',
    " ",
    "=",
    "<",
    "(",
    ")",
    ",",
    "like",
    "in",
    "not",
    "and",
    "or",
    "is",
    "null",
    "1",
    "--",
    ";",
    "/*",
    "*/",
    "?",
    "select",
    "union",
    "from rows",
    "\\",
    "\n",
    "\0",
    "%",
    "x'",
    "json_each",
    "1=1",
    "true",
    "a",
]


@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from(TABLE), max_size=14).map("".join) | st.text(max_size=30))
def test_any_other_text_is_refused_or_a_filter(index, text):
    try:
        matching = ids(index, text)
    except UsageError:
        return
    assert set(matching) <= set("abcde") and len(index) == 5


def test_whole_numbers_of_any_length_are_compared_exactly(tmp_path):
    numbers = [1234567890123456789, 1234567890123456790, 2**64 - 1, 2**64]
    with Index.create(tmp_path / "a.index", 2, "cosine") as index:
        rows = [{"id": id, "number": number} for id, number in zip("abcd", numbers, strict=True)]
        index.add(rows, np.tile(np.float32([1, 0]), (len(rows), 1)), "x")
        for id, number in zip("abcd", numbers, strict=True):
            assert ids(index, f"number = {number}") == id
        assert set(ids(index, f"number > {numbers[0]}")) == set("bcd")
        assert set(ids(index, f"number < 1{'0' * 5_000}")) == set("abcd")
