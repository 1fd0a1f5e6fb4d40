r"""A protocol: how the figures of a recipe are measured, in one YAML file beside the recipe.

Its first line is a comment that says what it is; its keys are the arguments of `Protocol`:

    # Digits of MNIST in three dimensions, by a convolutional network.
    data: [mnist]
    recipe: deep3d
    figures:
      neighbors:
        metric: knn@5
        evaluate: --query bitmap --target bitmap --relevant digit --split test --candidates-split train

Commands are written as in a shell. They may hold {fold}, {table} and {run}, those of a seed and a fold; {tables}, those
of all folds; and {runs}, those of all seeds and folds.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError, did_you_mean

SEED_KEYS = ("seed_everything", "data.seed")  # the settings of a training that a seed sets

_KINDS = {str: "text", int: "a whole number", float: "a number", list: "a list", dict: "keys with values"}


@dataclass(frozen=True)
class Figure:
    """A figure that is measured for each seed and fold: by `jointembed evaluate`, or by a script.

    Args:
        metric: a metric of `jointembed evaluate`, or the name of what the script prints.
        evaluate: options of `jointembed evaluate`.
        table: a file in the folder of the table that is evaluated in its place.
        script: a script in the folder of the recipe, with arguments.
        pattern: a regular expression that finds the figure in what the script prints, as the group `value`, and the
            ends of its interval, if it prints them, as `low` and `high`.
    """

    metric: str
    evaluate: str = ""
    table: str = ""
    script: str = ""
    pattern: str = ""


@dataclass(frozen=True)
class Baseline:
    """A simpler method on the same tables.

    Args:
        name: what it is.
        script: a script in the folder of the recipe, with arguments.
        pattern: a regular expression; each place where it matches has the value of one seed as the group `value`.
        figure: the figure that it is compared with; the first one if not given.
    """

    name: str
    script: str
    pattern: str
    figure: str = ""


@dataclass(frozen=True)
class Published:
    """A value that others have published.

    Args:
        name: the method.
        value: the value.
        source: where it is published, and what differs.
        figure: the figure that it is compared with; the first one if not given.
    """

    name: str
    value: float
    source: str
    figure: str = ""


@dataclass(frozen=True)
class Protocol:
    """How the figures of a recipe are measured.

    Args:
        path: the file, FOLDER/protocols/NAME.yaml, where FOLDER is that of the recipe; not a key.
        about: the first line; not a key.
        recipe: a recipe of the folder.
        figures: by their names; the first one is the main figure.
        data: the sources of the prepare script, folders below that of all data; of several texts, the first whose
            folders exist is taken. Without it, the prepare script makes up its data.
        prepare: the script that makes the table, with options.
        fit: options of `jointembed fit` beside the recipe.
        folds: the values of {fold}; the figure of a seed is then the mean over its folds.
        seeds: how many; they count from 0.
        seed_keys: the settings that are set to the seed: by default those of `jointembed fit --seeds`, of weights and
            dropout, and of shuffling and augmentation. The splits are those of the table, the same for all seeds.
        time: about how long a seed takes.
        baseline: a simpler method.
        published: values of others.
    """

    path: Path
    about: str
    recipe: str
    figures: dict[str, Figure]
    data: list[str] = field(default_factory=list)
    prepare: str = "prepare.py"
    fit: str = ""
    folds: list[str] = field(default_factory=list)
    seeds: int = 3
    seed_keys: list[str] = field(default_factory=lambda: list(SEED_KEYS))
    time: str = ""
    baseline: Baseline | None = None
    published: list[Published] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name of the protocol, that of its file."""
        return self.path.stem

    @property
    def folder(self) -> Path:
        """The folder of the recipe."""
        return self.path.absolute().parents[1]

    @property
    def reference_card(self) -> Path:
        """Where the card of its figures is kept, beside the recipe."""
        return self.folder / "cards" / f"{self.name}.json"

    @property
    def main_figure(self) -> str:
        """The name of its first figure."""
        return next(iter(self.figures))


def read_protocol(path: Path) -> Protocol:
    """The protocol in a file of YAML.

    Raises:
        UsageError: a key is missing or unknown, or its value is wrong; the message names the file and the key.
    """
    import yaml

    text = path.read_text("utf-8")
    about = text.partition("\n")[0].removeprefix("#").strip()
    protocol: Protocol = _build(Protocol, yaml.safe_load(text), path, "", {"path": path, "about": about})

    def check(is_right: bool, key: str, wrong: str, fix: str) -> None:
        if not is_right:
            raise UsageError(f"{path}: {key}", wrong, fix)

    check(bool(protocol.figures), "figures", "it is empty", "name at least one figure, with its metric")
    check(protocol.seeds > 0, "seeds", f"must be at least 1, got {protocol.seeds}", "write seeds: 3")
    for name, figure in protocol.figures.items():
        is_single = bool(figure.evaluate) != bool(figure.script)
        check(is_single, f"figures.{name}", "it needs either evaluate or script", "give one of them")
    parts: dict[str, Any] = {f"figures.{name}": figure for name, figure in protocol.figures.items() if figure.script}
    parts |= {"baseline": protocol.baseline} if protocol.baseline else {}
    for key, part in parts.items():
        fix = r"write a regular expression with a group, such as 'accuracy (?P<value>[.\d]+)'"
        try:
            has_group = "value" in re.compile(part.pattern).groupindex
        except re.error as error:
            check(False, f"{key}.pattern", f"it is not a regular expression ({error})", fix)
        check(has_group, f"{key}.pattern", "it has no group named value", fix)
    parts = {"baseline": protocol.baseline} if protocol.baseline else {}
    for key, part in (parts | {f"published.{number}": row for number, row in enumerate(protocol.published)}).items():
        fix = did_you_mean(part.figure, protocol.figures)
        check(part.figure in {"", *protocol.figures}, f"{key}.figure", f"{part.figure!r} is not a figure", fix)
    return protocol


def _build(kind: Any, content: Any, path: Path, key: str, defaults: Mapping[str, Any] | None = None) -> Any:
    """A value of a type from plain data: a dataclass from its keys, a list or a dict from its items.

    Raises:
        UsageError: the data do not fit; the message names the file and the key.
    """
    subject = f"{path}: {key}" if key else path
    if isinstance(kind, types.UnionType):  # of a type and None
        kind = typing.get_args(kind)[0]
    plain = dict if is_dataclass(kind) else typing.get_origin(kind) or kind
    is_right = isinstance(content, (int, float) if plain is float else plain) and not isinstance(content, bool)
    if plain is str and isinstance(content, int | float):  # a fold named 1
        is_right, content = not isinstance(content, bool), str(content)
    if not is_right:
        text = "nothing" if content is None else repr(content)
        raise UsageError(
            subject, f"must be {_KINDS[plain]}, got {text}", "correct it; the other protocols are examples"
        )
    if is_dataclass(kind):
        hints, defaults = typing.get_type_hints(kind), defaults or {}
        names = [part.name for part in fields(kind) if part.name not in defaults]
        for name in content:
            if name not in names:
                raise UsageError(f"{subject}{'.' if key else ': '}{name}", "unknown key", did_you_mean(name, names))
        for part in fields(kind):
            if (
                part.name in names
                and part.name not in content
                and (part.default, part.default_factory) == (MISSING,) * 2
            ):
                raise UsageError(subject, f"the key {part.name} is missing", f"add {part.name}: with its value")
        prefix = f"{key}." if key else ""
        values = {name: _build(hints[name], part, path, f"{prefix}{name}") for name, part in content.items()}
        return typing.cast(Callable[..., Any], kind)(**defaults, **values)
    if plain is list:
        item = typing.get_args(kind)[0]
        return [_build(item, part, path, f"{key}.{number}") for number, part in enumerate(content)]
    if plain is dict:
        item = typing.get_args(kind)[1]
        return {str(name): _build(item, part, path, f"{key}.{name}") for name, part in content.items()}
    return content
