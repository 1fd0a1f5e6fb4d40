"""Ranges of arguments, declared in the signature of a constructor and checked before it runs; shapes of results."""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from .errors import UsageError


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both ends included unless they are open; never infinite or NaN.

    Args:
        low: the lower end.
        high: the upper end.
        open_low: `low` itself is not allowed.
        open_high: `high` itself is not allowed.
    """

    low: float
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    @property
    def fix(self) -> str:
        """What to do about a number outside."""
        if self.high == math.inf:
            return f"use a number above {self.low:g}" if self.open_low else f"use {self.low:g} or more"
        return f"use a number {self}"

    def __str__(self) -> str:
        low = f"above {self.low:g}" if self.open_low else f"at least {self.low:g}"
        if self.high == math.inf:
            return low
        return f"{low} and {'below' if self.open_high else 'at most'} {self.high:g}"

    def __contains__(self, value: Any) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below and math.isfinite(value)


@dataclass(frozen=True)
class Distinct:
    """A list without repetition."""


Count = Annotated[int, Range(1)]
Natural = Annotated[int, Range(0)]
Positive = Annotated[float, Range(0, open_low=True)]
NonNegative = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
Dropout = Annotated[float, Range(0, 1, open_high=True)]  # without the last one, at which nothing is left


class CheckedArguments:
    """Checks the arguments of its constructor against the ranges in the signature.

    >>> class Bag(CheckedArguments):
    ...     def __init__(self, width: Count, hidden: list[Count] | None = None) -> None:
    ...         pass
    >>> Bag(8, [4, 0])
    Traceback (most recent call last):
    jointembed.errors.UsageError: error[E-USAGE]: Bag.hidden: must be at least 1, got 0. Fix: use 1 or more
    """

    settings_name: ClassVar[str] = ""  # what its arguments are called in messages; the name of the class by default

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        # Copying and unpickling come here without arguments.
        bound = inspect.signature(cls.__init__).bind_partial(self, *args, **kwargs).arguments
        hints = _read_hints(cls.__init__)
        for name, value in bound.items():
            if name in hints:
                check(f"{cls.settings_name or cls.__name__}.{name}", hints[name], value)
        return self


@functools.cache
def _read_hints(constructor: Callable[..., None]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(constructor, include_extras=True)
    except NameError:  # of a class elsewhere that imports its types for type checkers only
        return {}


def check(subject: str, hint: Any, value: Any) -> None:
    """Check a value, and the items of a list or dict, against the ranges in a type hint.

    Raises:
        UsageError: a number is not in its range.
    """
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if value is None:
        return
    if origin is Annotated:
        for rule in parts[1:]:
            if isinstance(rule, Range):
                _check_number(subject, rule, parts[0] is int, value)
            elif isinstance(rule, Distinct) and len(set(value)) < len(value):
                repeated = next(item for item in value if list(value).count(item) > 1)
                raise UsageError(subject, f"it has {repeated} twice", "leave out one of them")
        check(subject, parts[0], value)
    elif origin in (typing.Union, types.UnionType):
        for part in parts:
            if typing.get_origin(part) is not Annotated or isinstance(value, numbers.Real | list | tuple):
                check(subject, part, value)
    elif origin is list and isinstance(value, list | tuple):
        for item in value:
            check(subject, parts[0], item)
    elif origin is dict and isinstance(value, dict):
        for name, item in value.items():
            check(f"{subject}.{name}", parts[1], item)


def check_shape(owner: object, method: str, result: Any, shape: tuple[int, ...]) -> None:
    """Check what a method has returned that a user may have written.

    Raises:
        UsageError: it is not an array or tensor of this shape.
    """
    actual = getattr(result, "shape", None)
    if actual is None or tuple(actual) != shape:
        returned = type(result).__name__ if actual is None else f"the shape {tuple(actual)}"
        expected = f"the shape {shape}" if shape else "a tensor of one number"
        wrong = f"it must return {expected}, got {returned}"
        raise UsageError(f"{type(owner).__name__}.{method}", wrong, "correct this method")


def _check_number(subject: str, allowed: Range, whole: bool, value: Any) -> None:
    noun = "a whole number" if whole else "a number"
    if not isinstance(value, numbers.Integral if whole else numbers.Real) or isinstance(value, bool):
        raise UsageError(subject, f"must be {noun}, got {value!r}", allowed.fix)
    if value not in allowed:
        raise UsageError(subject, f"must be {allowed}, got {value}", allowed.fix)
