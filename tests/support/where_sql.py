"""What a condition means, as SQL over the JSON of the rows: an oracle for `index/metadata.py`."""

import re
import unicodedata

from jointembed.index.where import Comparison, parse


def matching_keys(index, where):
    """The keys of the rows that meet a condition, by SQLite."""
    clause, values = to_sql(parse(where, index.columns))
    with index.backend.inspect() as view:
        view.db.create_function("folded_like", 2, like)  # SQLite's own folds ASCII only
        return [key for (key,) in view.db.execute(f"SELECT number FROM rows WHERE {clause} ORDER BY number", values)]


def like(text, pattern):
    """Whether a text, given as bytes, matches a pattern, whatever the case."""
    try:
        text = text.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = text.decode("utf-8", "surrogateescape")
    regex = "".join({"%": ".*", "_": "."}.get(sign, re.escape(sign)) for sign in unicodedata.normalize("NFC", pattern))
    return re.fullmatch(regex, unicodedata.normalize("NFC", text), re.DOTALL | re.IGNORECASE) is not None


def to_sql(condition):
    """A clause and its parameters."""
    if isinstance(condition, Comparison):
        return comparison_to_sql(condition)
    clauses, values = zip(*map(to_sql, condition.parts), strict=True)
    clause = f"NOT {clauses[0]}" if condition.op == "not" else f" {condition.op.upper()} ".join(clauses)
    return f"({clause})", [value for part in values for value in part]


def comparison_to_sql(test):
    source, path = ("json_array(rows.id)", "$") if test.name == "id" else ("rows.columns", f'$."{test.name}"')
    if test.op == "exists":
        return f"(coalesce(json_type({source}, ?), 'null') <> 'null')", [path]
    clauses, bound = [], []
    for kind in dict.fromkeys(map(json_kind, test.values)):
        values = [value for value in test.values if json_kind(value) == kind]
        operator = f"IN ({', '.join('?' * len(values))})" if test.op == "in" else f"{test.op.upper()} ?"
        met = "folded_like(CAST(value AS BLOB), ?)" if test.op == "like" else f"value {operator}"
        clauses.append(f"{kind} AND {met}")
        bound += [float(value) if is_beyond_sqlite(value) else value for value in values]
    # The values of a dict are not its elements.
    each = f"SELECT 1 FROM json_each({source}, ?) WHERE typeof(key) <> 'text' AND ({' OR '.join(clauses)})"
    return f"EXISTS ({each})", [path, *bound]


def is_beyond_sqlite(value):
    """Whether a value is a whole number of more than 64 bits."""
    return type(value) is int and not -(2**63) <= value < 2**63


def json_kind(value):
    if isinstance(value, bool):
        return "type IN ('true', 'false')"
    return "type = 'text'" if isinstance(value, str) else "type IN ('integer', 'real')"
