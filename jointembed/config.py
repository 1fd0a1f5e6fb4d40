"""Objects that record their constructor arguments, so that they can be rebuilt from a plain configuration."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from .arguments import CheckedArguments
from .errors import UnsafeError, UsageError


class Configurable(CheckedArguments):
    """Records its constructor arguments, so that a checkpoint can hold a configuration instead of an object."""

    _init_args: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls, *args, **kwargs)
        # Copying and unpickling come here without arguments and bring the attribute themselves.
        bound = inspect.signature(cls.__init__).bind_partial(self, *args, **kwargs).arguments
        object.__setattr__(self, "_init_args", {name: value for name, value in bound.items() if name != "self"})
        return self


def to_config(value: Any) -> Any:
    """The configuration of an object, as a recipe writes it: `class_path` and `init_args`.

    Raises:
        UsageError: an argument is neither plain data nor a `Configurable`.
    """
    if isinstance(value, Configurable):
        cls = type(value)
        arguments = {name: to_config(argument) for name, argument in value._init_args.items()}
        return {"class_path": f"{cls.__module__}.{cls.__qualname__}", "init_args": arguments}
    if isinstance(value, dict):
        return {str(name): to_config(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_config(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Path):
        return str(value)
    raise UsageError(
        type(value).__name__,
        "a model with such an argument cannot be rebuilt from its checkpoint",
        "give plain values, lists, dicts, or objects of classes derived from Reader, Encoder or Objective",
    )


def is_trusted(path: str, trust: Collection[str] = ()) -> bool:
    """Whether a class that a file names may be imported."""
    return path.split(".")[0] in {"jointembed", *trust}


def from_config(config: Any, trust: Collection[str] = (), where: str = "the model") -> Any:
    """Rebuild objects from their configuration; only jointembed and the packages of `trust` are imported.

    Raises:
        UnsafeError: it names a class that is not trusted, or that does not belong to a model.
    """
    if isinstance(config, list):
        return [from_config(part, trust, where) for part in config]
    if not isinstance(config, dict):
        return config
    if set(config) - {"init_args"} != {"class_path"}:
        return {name: from_config(value, trust, where) for name, value in config.items()}
    path = str(config["class_path"])
    if not is_trusted(path, trust):
        package = path.split(".")[0]
        raise UnsafeError(
            where,
            f"it asks for the class {path}, which is not part of jointembed",
            f"if you trust that package, add --trust {package} (in a recipe: `trust: [{package}]`)",
        )
    module, _, name = path.rpartition(".")
    if trust and "" not in sys.path:
        sys.path.insert(0, "")
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ModuleNotFoundError, AttributeError, ValueError) as error:
        if isinstance(error, ModuleNotFoundError) and not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there, and what it imports is not
        raise UsageError(where, f"its class {path} cannot be imported", "install the package that holds it") from error
    if not (inspect.isclass(cls) and issubclass(cls, Configurable)):
        raise UnsafeError(
            where, f"{path} is not a reader, encoder, objective or space", "get the model from its maker again"
        )
    arguments = from_config(config.get("init_args") or {}, trust, where)
    try:
        inspect.signature(cls.__init__).bind(None, **arguments)
    except TypeError as error:
        raise UsageError(
            where, f"{name} does not take its arguments ({error})", "use the version it was made with"
        ) from error
    return cls(**arguments)
