"""The YAML of a recipe, checked before it is used."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files import check_regular

MAX_VALUES = 100_000  # with those that aliases repeat
_SCALARS = [  # of YAML 1.2, as far as people write them by hand
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)$", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+0123456789."),
    ("float", r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", "-+."),
    ("null", r"(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("merge", r"<<$", "<"),
]  # fmt: skip


@functools.cache
def read_text_as_text() -> None:
    """Keep what is meant as text: columns named yes, no, on, off, null or 1990, and words such as #1, &a and ~.

    jsonargparse reads recipes and options as YAML 1.1, in which yes and on are true. YAML 1.2 has only true and false.
    Of an option, words that YAML has no value for would be missing, and the option would be ignored. As a value, only
    null means None.
    """
    import jsonargparse
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        yaml_implicit_resolvers: dict[str, Any] = {}

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            self.flatten_mapping(node)
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode):
                    key.tag = "tag:yaml.org,2002:str"
            mapping: dict[Any, Any] = super().construct_mapping(node, deep)
            return mapping

    for tag, pattern, first in _SCALARS:
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))
    load = jsonargparse.get_loader("yaml")

    def load_value(text: str) -> Any:
        value = load(text)
        if isinstance(value, str):  # also what jsonargparse takes for text, such as `a:`
            return value
        value = yaml.load(text, Loader)
        return text if value is None and "\n" not in text else value

    jsonargparse.set_loader("yaml", load_value, (yaml.YAMLError,))


def check_recipe_file(path: Path) -> None:
    """Check that a recipe can be read, and has no key twice: YAML would take the last.

    Raises:
        UsageError: it cannot be read, or a key occurs twice.
    """
    import yaml

    if path.is_dir():
        raise UsageError(path, "this is a folder, not a recipe", "give a .yaml file, or the name of a packaged recipe")
    check_regular(path)
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise UsageError(path, "it is not a text in UTF-8", "give a recipe in YAML") from error
    except RecursionError as error:
        raise UsageError(path, "it is nested too deeply", "give a recipe of fewer levels") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else path
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise UsageError(where, f"this is not YAML ({problem})", "correct the line, or the one before it") from error
    if not isinstance(root, yaml.MappingNode):
        wrong = "this recipe is empty" if root is None else "this recipe has no keys such as model and data"
        raise UsageError(path, wrong, "write one with jointembed init TABLE, or begin with one of jointembed recipes")
    if count_values(root, {}) > MAX_VALUES:
        wrong = f"its anchors expand to more than {MAX_VALUES:,} values"
        raise UsageError(path, wrong, "write out what they stand for, or use fewer of them")
    for key, line in find_repeated_keys(root):
        raise UsageError(key, f"the key occurs twice, again in line {line} of {path}", "leave out one of them")


def count_values(node: Any, counts: dict[int, int]) -> int:
    """The number of values in a tree of YAML nodes, where an alias counts as often as it is written.

    Args:
        node: the root of the tree.
        counts: the numbers that are known, by the identities of nodes.
    """
    if id(node) not in counts:
        counts[id(node)] = MAX_VALUES + 1  # of an anchor inside itself
        parts = node.value if isinstance(node.value, list) else []
        children = [child for part in parts for child in (part if isinstance(part, tuple) else (part,))]
        counts[id(node)] = 1 + sum(count_values(child, counts) for child in children)
    return counts[id(node)]


def find_repeated_keys(node: Any, prefix: str = "") -> Iterator[tuple[str, int]]:
    """The keys that a mapping in a tree of YAML nodes has twice, with their lines."""
    import yaml

    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from find_repeated_keys(item, f"{prefix}{number}.")
    elif isinstance(node, yaml.MappingNode):
        names = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in names:
                    yield f"{prefix}{key.value}", key.start_mark.line + 1
                names.add(key.value)
                yield from find_repeated_keys(value, f"{prefix}{key.value}.")
