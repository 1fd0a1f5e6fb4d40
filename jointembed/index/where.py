r"""Conditions over the cells of a row, such as `genre = 'waltz' and (tempo > 120 or artist like 'A%')`.

    condition  = both { "or" both }
    both       = one { "and" one }
    one        = "not" one | "(" condition ")" | comparison
    comparison = column ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) value
               | column [ "not" ] "like" 'text with % and _'
               | column [ "not" ] "in" "(" value { "," value } ")"
               | column "is" [ "not" ] "null"
    column     = name | "name with spaces"
    value      = number | 'text, with '' for a quote' | true | false

A comparison is true if the cell, or any one element of a cell that is a list, has the type of the value and compares
so with it. It is therefore never true of an absent cell; `!=`, `not like` and `not in` are the opposites of `=`, `like`
and `in`, so they are. `like` does not tell capital from small ASCII letters. Every condition is either of this grammar
or refused: names and values reach SQLite as bound parameters only.

What a condition means, its SQL says; `filter.py` finds the same sooner where a column is asked for again.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NoReturn

from ..errors import UsageError, did_you_mean

LONGEST = 10_000  # characters
MOST = 100  # comparisons
DEEPEST = 12  # brackets and nots in one another; SQLite's own parser has a stack of 100 for what they become

Value = str | int | float

_TOKEN = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?!\w))"
    r"|(?P<text>'(?:[^']|'')*')"
    r'|(?P<quoted>"(?:[^"]|"")+")'
    r"|(?P<word>[^\W\d]\w*)"
    r"|(?P<sign><=|>=|<>|!=|==|[=<>(),])"
)
KEYWORDS = {"and", "or", "not", "in", "is", "like", "null", "true", "false"}


@dataclass(frozen=True)
class Comparison:
    """A comparison, without its `not`.

    Args:
        name: of the column.
        how: `there`, `in`, `like`, `<`, `<=`, `>` or `>=`.
        values: what the cell is compared with: one value, or any one of several if `in`.
    """

    name: str
    how: str
    values: tuple[Value, ...] = ()

    def comparisons(self) -> Iterator[Comparison]:
        """Itself."""
        yield self

    def sql(self) -> tuple[str, list[Value]]:
        """The SQL over the table `rows`, and its parameters."""
        source, path = ("json_array(rows.id)", "$") if self.name == "id" else ("rows.columns", f'$."{self.name}"')
        if self.how == "there":
            return f"(coalesce(json_type({source}, ?), 'null') <> 'null')", [path]
        tests, bound = [], []
        for kind in dict.fromkeys(map(_kind, self.values)):
            same = [value for value in self.values if _kind(value) == kind]
            compared = f"IN ({', '.join('?' * len(same))})" if self.how == "in" else f"{self.how.upper()} ?"
            tests.append(f"{kind} AND value {compared}")
            bound += same
        # The values of a dict are none of its elements.
        each = f"SELECT 1 FROM json_each({source}, ?) WHERE typeof(key) <> 'text' AND ({' OR '.join(tests)})"
        return f"EXISTS ({each})", [path, *bound]


@dataclass(frozen=True)
class Joined:
    """Conditions that are joined by `and` or `or`, or one that is turned round by `not`."""

    how: str
    parts: tuple[Condition, ...]

    def comparisons(self) -> Iterator[Comparison]:
        """The comparisons in it."""
        for part in self.parts:
            yield from part.comparisons()

    def sql(self) -> tuple[str, list[Value]]:
        """The SQL over the table `rows`, and its parameters."""
        clauses, values = zip(*(part.sql() for part in self.parts), strict=True)
        clause = f"NOT {clauses[0]}" if self.how == "not" else f" {self.how.upper()} ".join(clauses)
        return f"({clause})", [value for some in values for value in some]


Condition = Comparison | Joined


def parse(condition: str, names: Collection[str]) -> Condition:
    """A condition over the rows of an index.

    Args:
        condition: see the grammar above.
        names: the cells that there are; `id` is always one.

    Raises:
        UsageError: it is not a condition, with the place where it ceases to be one; or there is no such column.
    """
    if len(condition) > LONGEST:
        raise UsageError("where", f"the condition is longer than {LONGEST} characters", "shorten it")
    return _Parser(condition, {"id", *names}).whole()


def unmet(condition: str) -> UsageError:
    """The complaint of a condition that nothing meets."""
    hint = ", or compare by like, which does not tell capital letters from small ones" if "'" in condition else ""
    return UsageError("where", f"no item meets the condition {condition}", f"loosen it{hint}")


class _Parser:
    def __init__(self, condition: str, names: set[str]) -> None:
        self.names = names
        self.depth = self.comparisons = self.next = 0
        self.tokens: list[tuple[str, str, int]] = []  # kind, text, place; words that are keywords are signs
        at = 0
        while at < len(condition):
            if condition[at].isspace():
                at += 1
                continue
            found = _TOKEN.match(condition, at)
            if not found:
                self.refuse("no name, number, quoted text or sign starts", at)
            kind, text = str(found.lastgroup), found[0]
            if kind == "word" and text.lower() in KEYWORDS:
                kind, text = "sign", text.lower()
            self.tokens.append((kind, text, at))
            at = found.end()
        self.tokens.append(("end", "", at))

    def whole(self) -> Condition:
        condition = self.either()
        if self.tokens[self.next][0] != "end":
            self.expected("and, or, or the end")
        return condition

    def either(self) -> Condition:
        parts = [self.both()]
        while self.took("or"):
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else Joined("or", tuple(parts))

    def both(self) -> Condition:
        parts = [self.one()]
        while self.took("and"):
            parts.append(self.one())
        return parts[0] if len(parts) == 1 else Joined("and", tuple(parts))

    def one(self) -> Condition:
        self.depth += 1
        if self.depth > DEEPEST:
            self.refuse(f"more than {DEEPEST} brackets or nots are nested", self.tokens[self.next][2])
        if self.took("not"):
            found: Condition = Joined("not", (self.one(),))
        elif self.took("("):
            found = self.either()
            self.take(")")
        else:
            found = self.comparison()
        self.depth -= 1
        return found

    def comparison(self) -> Condition:
        name = self.column()
        self.comparisons += 1
        if self.comparisons > MOST:
            self.refuse(f"more than {MOST} comparisons are asked for", self.tokens[self.next][2])
        if self.took("is"):
            negative = not self.took("not")
            self.take("null")
            test = Comparison(name, "there")
        elif sign := self.took("=", "==", "!=", "<>", "<", "<=", ">", ">="):
            negative = sign in ("!=", "<>")
            at = self.tokens[self.next][2]
            value = self.value()
            ordered = sign in ("<", "<=", ">", ">=")
            if ordered and isinstance(value, bool):
                self.refuse("true and false have no order, but are compared", at)
            test = Comparison(name, sign if ordered else "in", (value,))
        else:
            negative = bool(self.took("not"))
            if self.took("like"):
                test = Comparison(name, "like", (self.text(),))
            elif self.took("in"):
                self.take("(")
                values = [self.value()]
                while self.took(","):
                    values.append(self.value())
                self.take(")")
                test = Comparison(name, "in", tuple(values))
            else:
                self.expected("like or in" if negative else "=, !=, <, <=, >, >=, like, in or is")
        return Joined("not", (test,)) if negative else test

    def column(self) -> str:
        kind, text, at = self.tokens[self.next]
        if kind not in ("word", "quoted"):
            self.expected("the name of a column")
        self.next += 1
        name = text[1:-1].replace('""', '"') if kind == "quoted" else text
        if name not in self.names:
            wrong = f"at character {at + 1}: no row has the column {name}"
            raise UsageError("where", wrong, did_you_mean(name, sorted(self.names)))
        if any(sign in '"\\' or sign < " " for sign in name):
            self.refuse("a column whose name holds a quote, a backslash or a control sign cannot be asked for", at)
        return name

    def value(self) -> Value:
        kind, text, _ = self.tokens[self.next]
        if kind == "text":
            return self.text()
        if kind == "sign" and text in ("true", "false"):
            self.next += 1
            return text == "true"
        if kind != "number":
            self.expected("a number, a text in single quotes, true or false")
        self.next += 1
        return int(text) if len(text) < 19 and text.lstrip("+-").isdigit() else float(text)

    def text(self) -> str:
        kind, text, at = self.tokens[self.next]
        if kind != "text":
            self.expected("a text in single quotes")
        if "\0" in text or not text.isprintable() and any("\ud800" <= sign <= "\udfff" for sign in text):
            self.refuse("this text holds a sign that no cell can hold", at)
        self.next += 1
        return text[1:-1].replace("''", "'")

    def took(self, *signs: str) -> str | None:
        kind, text, _ = self.tokens[self.next]
        if kind != "sign" or text not in signs:
            return None
        self.next += 1
        return text

    def take(self, sign: str) -> None:
        if not self.took(sign):
            self.expected(sign)

    def expected(self, what: str) -> NoReturn:
        kind, text, at = self.tokens[self.next]
        self.refuse(f"{what} was expected, but there is {'the end' if kind == 'end' else text}", at)

    def refuse(self, wrong: str, at: int) -> NoReturn:
        raise UsageError("where", f"at character {at + 1}: {wrong}", "write it like genre = 'waltz' and tempo > 120")


def _kind(value: Value) -> str:
    if isinstance(value, bool):
        return "type IN ('true', 'false')"
    return "type = 'text'" if isinstance(value, str) else "type IN ('integer', 'real')"
