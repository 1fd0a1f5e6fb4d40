"""Objects that can say how they were made, and be made again from those words alone."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from .errors import UnsafeError, UsageError


class Configurable:
    """Remembers the arguments that it was made with, so that a checkpoint can hold a recipe instead of an object."""

    _init_args: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        # Copying and unpickling come here without arguments and bring the attribute themselves.
        bound = inspect.signature(cls.__init__).bind_partial(self, *args, **kwargs).arguments
        object.__setattr__(self, "_init_args", {name: value for name, value in bound.items() if name != "self"})
        return self


def to_config(thing: Any) -> Any:
    """The `class_path` and `init_args` of an object, as they would stand in a recipe.

    Raises:
        UsageError: an argument is neither plain data nor an object that describes itself.
    """
    if isinstance(thing, Configurable):
        kind = type(thing)
        arguments = {name: to_config(value) for name, value in thing._init_args.items()}
        return {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": arguments}
    if isinstance(thing, dict):
        return {str(name): to_config(value) for name, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [to_config(value) for value in thing]
    if thing is None or isinstance(thing, str | int | float | bool):
        return thing
    if isinstance(thing, Path):
        return str(thing)
    raise UsageError(
        type(thing).__name__,
        "a model that holds it cannot be made again from its checkpoint",
        "give plain values, lists and dicts, or objects of classes that derive from Reader, Encoder or Objective",
    )


def is_trusted(path: str, trust: Collection[str] = ()) -> bool:
    """Whether a class path may be imported for a file that came from somebody else."""
    return path.split(".")[0] in {"jointembed", *trust}


def from_config(words: Any, trust: Collection[str] = (), where: str = "the model") -> Any:
    """Make the described objects again; nothing outside jointembed and the packages of `trust` is imported.

    Raises:
        UnsafeError: the description names a class that is not trusted, or something that is no part of a model.
    """
    if isinstance(words, list):
        return [from_config(word, trust, where) for word in words]
    if not isinstance(words, dict):
        return words
    if set(words) - {"init_args"} != {"class_path"}:
        return {name: from_config(value, trust, where) for name, value in words.items()}
    path = str(words["class_path"])
    if not is_trusted(path, trust):
        package = path.split(".")[0]
        raise UnsafeError(
            where,
            f"it asks for the class {path}, which is not part of jointembed",
            f"if you trust that package, add --trust {package}",
        )
    module, _, name = path.rpartition(".")
    if trust and "" not in sys.path:
        sys.path.insert(0, "")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(where, f"its class {path} cannot be imported", "install the package that holds it") from error
    if not (inspect.isclass(kind) and issubclass(kind, Configurable)):
        raise UnsafeError(
            where, f"{path} is not a reader, encoder, objective or space", "get the model from its maker again"
        )
    arguments = from_config(words.get("init_args") or {}, trust, where)
    try:
        return kind(**arguments)
    except TypeError as error:
        raise UsageError(
            where, f"{name} does not take its arguments ({error})", "use the version it was made with"
        ) from error
