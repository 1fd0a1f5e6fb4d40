"""List the packaged recipes, or print one."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError, did_you_mean
from ..files import expand_user


def recipes(name: str | None = None) -> None:
    """List the packaged recipes, or print one.

    Args:
        name: the recipe to print, such as songs/joint.
    """
    if name is not None:
        print(resolve(name).read_text(), end="")
        return
    from .console import print_table

    summaries = {recipe: resolve(recipe).read_text().partition("\n")[0] for recipe in names()}
    rows = [[recipe, summary.removeprefix("#").strip()] for recipe, summary in summaries.items()]
    print_table(["recipe", "what it trains"], rows)


def folder() -> Path:
    """The folder of the recipes: inside an installed wheel, or beside the package in a clone."""
    inside = Path(__file__).parent.parent / "recipes"
    return inside if inside.is_dir() else Path(__file__).parent.parent.parent / "recipes"


def names() -> list[str]:
    """The names of all packaged recipes, such as songs/joint."""
    root = folder()
    return sorted(str(path.relative_to(root).with_suffix("")) for path in root.rglob("*.yaml"))


def resolve(name: str) -> Path:
    """The file of a recipe, given by its path or by the name of a packaged one.

    Raises:
        UsageError: neither exists.
    """
    path = expand_user(name)
    if path.exists():
        return path
    packaged = folder() / (name.removesuffix(".yaml") + ".yaml")
    if not packaged.is_file():
        raise UsageError(name, "this recipe does not exist", did_you_mean(name, names()))
    return packaged
