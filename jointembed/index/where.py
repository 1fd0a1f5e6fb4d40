r"""Conditions over the metadata of a row, such as `genre = 'waltz' and (tempo > 120 or artist like 'A%')`.

    condition  = and { "or" and }
    and        = not { "and" not }
    not        = "not" not | "(" condition ")" | comparison
    comparison = column ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) value
               | column [ "not" ] "has" value
               | column [ "not" ] "like" 'text with % and _'
               | column [ "not" ] "in" "(" value { "," value } ")"
               | column "is" [ "not" ] "null"
    column     = name | "name with spaces"
    value      = number | 'text, with '' for a quote' | true | false

A comparison is true if the cell, or an element of a cell that is a list, has the type of the value and the comparison
holds. It is never true of a missing cell. `!=`, `not like` and `not in` negate `=`, `like` and `in`, so that they are
true of a missing cell. `has` is `=` as one would say it of a list. `like` ignores case in all scripts. A value of
another type than every cell of the column is an error, since no row would meet the comparison, or with `!=` each.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import NoReturn

from ..errors import UsageError, did_you_mean
from ..words import word_characters

MAX_CHARS = 10_000
MAX_COMPARISONS = 100
MAX_DEPTH = 12  # nested brackets and nots

Value = str | int | float

KEYWORDS = {"and", "or", "not", "in", "is", "like", "has", "null", "true", "false"}


@cache
def _token_pattern(word_characters: str) -> re.Pattern[str]:
    return re.compile(
        r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?!\w))"
        r"|(?P<text>'(?:[^']|'')*')"
        r'|(?P<quoted>"(?:[^"]|"")+")'
        rf"|(?P<word>[^\W\d][{word_characters}]*)"
        r"|(?P<sign><=|>=|<>|!=|==|[=<>(),])"
    )


@dataclass(frozen=True)
class Comparison:
    """A comparison, without its `not`.

    Args:
        name: of the column.
        op: `exists`, `in`, `like`, `<`, `<=`, `>` or `>=`.
        values: what the cell is compared with: one value, or any one of several if `in`.
    """

    name: str
    op: str
    values: tuple[Value, ...] = ()


@dataclass(frozen=True)
class BooleanOp:
    """Conditions joined by `and` or `or`, or negated by `not`."""

    op: str
    parts: tuple[Condition, ...]


Condition = Comparison | BooleanOp


def parse(condition: str, names: Collection[str]) -> Condition:
    """A condition over the rows of an index.

    Args:
        condition: see the grammar above.
        names: the columns; `id` is always one.

    Raises:
        UsageError: it is not a condition, with the character where it goes wrong; or there is no such column.
    """
    if len(condition) > MAX_CHARS:
        raise UsageError("where", f"the condition is longer than {MAX_CHARS} characters", "shorten it")
    return _Parser(condition, {"id", *names}).parse()


def no_match(condition: str) -> UsageError:
    """The error for a condition that no row meets."""
    hint = ", or compare by like, which ignores case" if "'" in condition else ""
    return UsageError("where", f"no item meets the condition {condition}", f"loosen it{hint}")


MAX_DIGITS = 300  # of a whole number that is compared exactly
_TYPES: dict[type, str] = {str: "text", float: "a number", bool: "true or false"}


def check_types(test: Comparison, types: Collection[type]) -> None:
    """Refuse a comparison that no cell of a column can meet because of its type.

    Args:
        test: the comparison.
        types: those of the elements of the column, where `float` stands for any number.

    Raises:
        UsageError: all of them are of another type than the values.
    """
    if not test.values or not types or not _TYPES.keys() >= set(types):
        return
    if set(map(_type_of, test.values)) & set(types):
        return
    value, is_ordered = test.values[0], test.op not in ("in", "like")
    kinds = " or ".join(noun for kind, noun in _TYPES.items() if kind in types)
    text = repr(value) if isinstance(value, str) else str(value).lower()
    if str in types:
        fix = f"write '{text}' in quotes" + (": texts are compared letter by letter, so '9' > '10'" * is_ordered)
    elif test.op == "like":
        fix = "compare by =, <, <=, > or >="
    elif float in types:
        fix = "write a number without quotes"
    else:
        fix = "write true or false without quotes"
    wrong = f"every cell of the column {test.name} is {kinds}, and {text} is {_TYPES[_type_of(value)]}"
    raise UsageError("where", wrong, fix)


def _type_of(value: Value) -> type:
    return float if type(value) is int else type(value)


class _Parser:
    def __init__(self, condition: str, names: set[str]) -> None:
        self.names = names
        self.depth = self.comparisons = self.next = 0
        self.tokens: list[tuple[str, str, int]] = []  # kind, text, place; words that are keywords are signs
        at, pattern = 0, _token_pattern(word_characters(condition))
        while at < len(condition):
            if condition[at].isspace():
                at += 1
                continue
            parsed = pattern.match(condition, at)
            if not parsed:
                self.fail(f"unexpected character {condition[at]!r}", at)
            kind, text = str(parsed.lastgroup), parsed[0]
            if kind == "word" and text.lower() in KEYWORDS:
                kind, text = "sign", text.lower()
            self.tokens.append((kind, text, at))
            at = parsed.end()
        self.tokens.append(("end", "", at))

    def parse(self) -> Condition:
        condition = self.parse_or()
        if self.tokens[self.next][0] != "end":
            self.fail_expected("and, or, or the end")
        return condition

    def parse_or(self) -> Condition:
        parts = [self.parse_and()]
        while self.accept("or"):
            parts.append(self.parse_and())
        return parts[0] if len(parts) == 1 else BooleanOp("or", tuple(parts))

    def parse_and(self) -> Condition:
        parts = [self.parse_not()]
        while self.accept("and"):
            parts.append(self.parse_not())
        return parts[0] if len(parts) == 1 else BooleanOp("and", tuple(parts))

    def parse_not(self) -> Condition:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail(f"more than {MAX_DEPTH} brackets or nots are nested", self.tokens[self.next][2])
        if self.accept("not"):
            parsed: Condition = BooleanOp("not", (self.parse_not(),))
        elif self.accept("("):
            parsed = self.parse_or()
            self.expect(")")
        else:
            parsed = self.parse_comparison()
        self.depth -= 1
        return parsed

    def parse_comparison(self) -> Condition:
        name = self.parse_column()
        self.comparisons += 1
        if self.comparisons > MAX_COMPARISONS:
            self.fail(f"more than {MAX_COMPARISONS} comparisons are asked for", self.tokens[self.next][2])
        if self.accept("is"):
            negative = not self.accept("not")
            self.expect("null")
            test = Comparison(name, "exists")
        elif sign := self.accept("=", "==", "!=", "<>", "<", "<=", ">", ">="):
            negative = sign in ("!=", "<>")
            at = self.tokens[self.next][2]
            value = self.parse_value()
            ordered = sign in ("<", "<=", ">", ">=")
            if ordered and isinstance(value, bool):
                self.fail("true and false have no order, but are compared", at)
            test = Comparison(name, sign if ordered else "in", (value,))
        else:
            negative = bool(self.accept("not"))
            if self.accept("like"):
                test = Comparison(name, "like", (self.parse_string(),))
            elif self.accept("has"):
                test = Comparison(name, "in", (self.parse_value(),))
            elif self.accept("in"):
                self.expect("(")
                values = [self.parse_value()]
                while self.accept(","):
                    values.append(self.parse_value())
                self.expect(")")
                test = Comparison(name, "in", tuple(values))
            else:
                self.fail_expected("has, like or in" if negative else "=, !=, <, <=, >, >=, has, like, in or is")
        return BooleanOp("not", (test,)) if negative else test

    def parse_column(self) -> str:
        kind, text, at = self.tokens[self.next]
        if kind not in ("word", "quoted"):
            self.fail_expected("the name of a column")
        self.next += 1
        name = text[1:-1].replace('""', '"') if kind == "quoted" else text
        if name not in self.names:
            wrong = f"at character {at + 1}: no row has the column {name}"
            raise UsageError("where", wrong, did_you_mean(name, sorted(self.names)))
        if any(sign in '"\\' or sign < " " for sign in name):
            self.fail("a column whose name contains a quote, a backslash or a control character cannot be used", at)
        return name

    def parse_value(self) -> Value:
        kind, text, _ = self.tokens[self.next]
        if kind == "text":
            return self.parse_string()
        if kind == "sign" and text in ("true", "false"):
            self.next += 1
            return text == "true"
        if kind != "number":
            self.fail_expected("a number, a text in single quotes, true or false")
        self.next += 1
        return int(text) if len(text) <= MAX_DIGITS and text.lstrip("+-").isdigit() else float(text)

    def parse_string(self) -> str:
        kind, text, at = self.tokens[self.next]
        if kind != "text":
            self.fail_expected("a text in single quotes")
        if "\0" in text or not text.isprintable() and any("\ud800" <= sign <= "\udfff" for sign in text):
            self.fail("this text contains a character that no cell can contain", at)
        self.next += 1
        return text[1:-1].replace("''", "'")

    def accept(self, *signs: str) -> str | None:
        kind, text, _ = self.tokens[self.next]
        if kind != "sign" or text not in signs:
            return None
        self.next += 1
        return text

    def expect(self, sign: str) -> None:
        if not self.accept(sign):
            self.fail_expected(sign)

    def fail_expected(self, expectation: str) -> NoReturn:
        kind, text, at = self.tokens[self.next]
        self.fail(f"{expectation} was expected, but there is {'the end' if kind == 'end' else text}", at)

    def fail(self, wrong: str, at: int) -> NoReturn:
        raise UsageError("where", f"at character {at + 1}: {wrong}", "write it like genre = 'waltz' and tempo > 120")
