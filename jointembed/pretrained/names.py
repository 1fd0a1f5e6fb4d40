"""Layers and parameters by their names."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

from ..errors import UsageError


def match_names(setting: str, patterns: Sequence[str], names: Collection[str]) -> list[str]:
    """The names that match a pattern, or that are inside a layer which does.

    Args:
        setting: the key of the recipe that has the patterns.
        patterns: names with the wildcards of `fnmatch`.
        names: of parameters or layers, such as `stages.0.refine.weight`.

    Raises:
        UsageError: a pattern matches nothing.
    """
    matches: set[str] = set()
    for pattern in patterns:
        new = {name for name in names if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")}
        if not new:
            parts = [name.split(".") for name in names]
            layers = sorted({".".join(part[:depth]) for part in parts for depth in range(1, len(part) + 1)})
            near = get_close_matches(pattern, layers, n=5) or [layer for layer in layers if layer.count(".") < 2][:8]
            raise UsageError(f"{setting}: {pattern}", "it matches no layer or parameter", "use " + ", ".join(near))
        matches |= new
    return [name for name in names if name in matches]
