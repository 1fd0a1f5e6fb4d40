"""`jointembed recipes`: the recipes that come with the package."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError, did_you_mean


def folder() -> Path:
    """Where the recipes lie: inside an installed wheel, or beside the package in a clone."""
    inside = Path(__file__).parent.parent / "recipes"
    return inside if inside.is_dir() else Path(__file__).parent.parent.parent / "recipes"


def names() -> list[str]:
    """The names of all recipes, such as songs/joint."""
    root = folder()
    return sorted(str(path.relative_to(root).with_suffix("")) for path in root.rglob("*.yaml"))


def resolve(name: str) -> Path:
    """The file of a recipe: a path, else the name of a packaged one.

    Raises:
        UsageError: there is neither.
    """
    path = Path(name).expanduser()
    if path.exists():
        return path
    packaged = folder() / (name.removesuffix(".yaml") + ".yaml")
    if not packaged.is_file():
        raise UsageError(name, "there is no such recipe", did_you_mean(name, names()))
    return packaged


def recipes(name: str | None = None) -> None:
    """List the packaged recipes, or print one.

    Args:
        name: of the recipe to print, such as songs/joint.
    """
    if name is not None:
        print(resolve(name).read_text(), end="")
        return
    for one in names():
        first = resolve(one).read_text().splitlines()[0]
        print(f"{one:<20} {first.removeprefix('#').strip()}")
