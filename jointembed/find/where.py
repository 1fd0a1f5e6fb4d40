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
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NoReturn

from ..errors import Usage, closest

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
_KEYWORDS = {"and", "or", "not", "in", "is", "like", "null", "true", "false"}


def parse(condition: str, names: Collection[str]) -> tuple[str, list[Value]]:
    """The SQL of a condition over the table `rows`, and its parameters.

    Args:
        condition: see the grammar above.
        names: the cells that there are; `id` is always one.

    Raises:
        Usage: it is not a condition, with the place where it ceases to be one; or there is no such column.
    """
    if len(condition) > LONGEST:
        raise Usage("where", f"the condition is longer than {LONGEST} characters", "shorten it")
    return _Parser(condition, {"id", *names}).whole()


class _Parser:
    def __init__(self, condition: str, names: set[str]) -> None:
        self.names = names
        self.values: list[Value] = []
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
            if kind == "word" and text.lower() in _KEYWORDS:
                kind, text = "sign", text.lower()
            self.tokens.append((kind, text, at))
            at = found.end()
        self.tokens.append(("end", "", at))

    def whole(self) -> tuple[str, list[Value]]:
        clause = self.either()
        if self.tokens[self.next][0] != "end":
            self.expected("and, or, or the end")
        return clause, self.values

    def either(self) -> str:
        clauses = [self.both()]
        while self.took("or"):
            clauses.append(self.both())
        return clauses[0] if len(clauses) == 1 else f"({' OR '.join(clauses)})"

    def both(self) -> str:
        clauses = [self.one()]
        while self.took("and"):
            clauses.append(self.one())
        return clauses[0] if len(clauses) == 1 else f"({' AND '.join(clauses)})"

    def one(self) -> str:
        self.depth += 1
        if self.depth > DEEPEST:
            self.refuse(f"more than {DEEPEST} brackets or nots are nested", self.tokens[self.next][2])
        if self.took("not"):
            clause = f"(NOT {self.one()})"
        elif self.took("("):
            clause = self.either()
            self.take(")")
        else:
            clause = self.comparison()
        self.depth -= 1
        return clause

    def comparison(self) -> str:
        name = self.column()
        self.comparisons += 1
        if self.comparisons > MOST:
            self.refuse(f"more than {MOST} comparisons are asked for", self.tokens[self.next][2])
        if self.took("is"):
            negative = not self.took("not")
            self.take("null")
            source, path = self.source(name)
            self.values.append(path)
            clause = f"(coalesce(json_type({source}, ?), 'null') <> 'null')"
        elif sign := self.took("=", "==", "!=", "<>", "<", "<=", ">", ">="):
            negative = sign in ("!=", "<>")
            clause = self.compared(name, sign) if sign in ("<", "<=", ">", ">=") else self.among(name, [self.value()])
        else:
            negative = bool(self.took("not"))
            if self.took("like"):
                clause = self.any(name, "type = 'text' AND value LIKE ?", [self.text()])
            elif self.took("in"):
                self.take("(")
                values = [self.value()]
                while self.took(","):
                    values.append(self.value())
                self.take(")")
                clause = self.among(name, values)
            else:
                self.expected("like or in" if negative else "=, !=, <, <=, >, >=, like, in or is")
        return f"(NOT {clause})" if negative else clause

    def compared(self, name: str, sign: str) -> str:
        at = self.tokens[self.next][2]
        value = self.value()
        if isinstance(value, bool):
            self.refuse("true and false have no order, but are compared", at)
        return self.any(name, f"{_kind(value)} AND value {sign} ?", [value])

    def among(self, name: str, values: list[Value]) -> str:
        tests: list[str] = []
        bound: list[Value] = []
        for kind in dict.fromkeys(map(_kind, values)):
            same = [value for value in values if _kind(value) == kind]
            tests.append(f"{kind} AND value IN ({', '.join('?' * len(same))})")
            bound += same
        return self.any(name, " OR ".join(tests), bound)

    def any(self, name: str, test: str, values: list[Value]) -> str:
        """Whether a cell, or an element of it, meets a test; the values of a dict are none of its elements."""
        source, path = self.source(name)
        self.values += [path, *values]
        return f"EXISTS (SELECT 1 FROM json_each({source}, ?) WHERE typeof(key) <> 'text' AND ({test}))"

    def source(self, name: str) -> tuple[str, str]:
        return ("json_array(rows.id)", "$") if name == "id" else ("rows.columns", f'$."{name}"')

    def column(self) -> str:
        kind, text, at = self.tokens[self.next]
        if kind not in ("word", "quoted"):
            self.expected("the name of a column")
        self.next += 1
        name = text[1:-1].replace('""', '"') if kind == "quoted" else text
        if name not in self.names:
            wrong = f"at character {at + 1}: no row has the column {name}"
            raise Usage("where", wrong, closest(name, sorted(self.names)))
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
        raise Usage("where", f"at character {at + 1}: {wrong}", "write it like genre = 'waltz' and tempo > 120")


def _kind(value: Value) -> str:
    if isinstance(value, bool):
        return "type IN ('true', 'false')"
    return "type = 'text'" if isinstance(value, str) else "type IN ('integer', 'real')"
