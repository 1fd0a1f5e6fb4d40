"""List the packaged recipes, print one, or copy one with its scripts."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import UsageError, did_you_mean
from ..files import check_regular, expand_user, write

_SCRIPTS_OF = re.compile(r'parents\[1\] / "(\w+)" / "\w+\.py"')  # how a script names one of another recipe


def recipes(name: str | None = None, recipe: str | None = None, folder: str | None = None) -> None:
    """List the packaged recipes, or print one. `recipes copy RECIPE FOLDER` copies one, with its prepare.py.

    Args:
        name: the recipe to print, such as songs/joint; or copy.
        recipe: the recipe to copy, such as songs/joint, or songs for all of songs.
        folder: where the folder of the recipe is put.
    """
    if name == "copy":
        if recipe is None or folder is None:
            raise UsageError("recipes copy", "a recipe and a folder are needed", "write recipes copy RECIPE FOLDER")
        copy(recipe, expand_user(folder))
        return
    if recipe is not None:
        raise UsageError(recipe, "unexpected argument", "write recipes NAME, or recipes copy RECIPE FOLDER")
    if name is not None:
        path = resolve(name)
        if path.is_dir():
            raise UsageError(name, "this is a folder, not a recipe", "give the name of a recipe, such as songs/joint")
        check_regular(path, is_read_once=True)
        print(path.read_text("utf-8", "replace"), end="")
        return
    from .console import print_table

    summaries = {recipe: resolve(recipe).read_text().partition("\n")[0] for recipe in names()}
    rows = [[recipe, summary.removeprefix("#").strip()] for recipe, summary in summaries.items()]
    print_table(["recipe", "what it trains"], rows)


def copy(recipe: str, target: Path) -> None:
    """Copy a packaged recipe, or all of a folder, with the scripts of its folder and of those that they use.

    Raises:
        UsageError: there is no such recipe, or a file is there already.
    """
    root, (group, _, stem) = packaged_folder(), recipe.removesuffix(".yaml").partition("/")
    choices = [*names(), *dict.fromkeys(name.partition("/")[0] for name in names() if "/" in name)]
    if recipe.removesuffix(".yaml") not in choices:
        raise UsageError(recipe, "this recipe does not exist", did_you_mean(recipe, choices))
    if not (root / group).is_dir():
        paths = [root / f"{group}.yaml"]
    else:
        paths = [path for path in (root / group).iterdir() if path.is_file()]
        paths = [path for path in paths if path.suffix != ".yaml" or not stem or path.stem == stem]
    for path in paths:  # grows as scripts are found that others use
        for name in _SCRIPTS_OF.findall(path.read_text("utf-8")) if path.suffix == ".py" else ():
            paths += [script for script in (root / name).glob("*.py") if script not in paths]
    places = {path: target / path.relative_to(root) for path in sorted(paths)}
    for place in places.values():
        if place.exists():
            raise UsageError(place, "the file is there already", "give another folder, or move it away")
    for path, place in places.items():
        write(place, path.read_bytes())
        print(place)


def packaged_folder() -> Path:
    """The folder of the recipes: inside an installed wheel, or beside the package in a clone."""
    inside = Path(__file__).parent.parent / "recipes"
    return inside if inside.is_dir() else Path(__file__).parent.parent.parent / "recipes"


def names() -> list[str]:
    """The names of all packaged recipes, such as songs/joint."""
    root = packaged_folder()
    paths = [*root.glob("*.yaml"), *root.glob("*/*.yaml")]  # those below are protocols
    return sorted(str(path.relative_to(root).with_suffix("")) for path in paths)


def resolve(name: str) -> Path:
    """The file of a recipe, given by its path or by the name of a packaged one.

    Raises:
        UsageError: neither exists.
    """
    path = expand_user(name)
    if path.exists():
        return path
    packaged = packaged_folder() / (name.removesuffix(".yaml") + ".yaml")
    if packaged.is_file():
        return packaged
    if path.suffix in (".yaml", ".yml"):
        fix = "jointembed init TABLE --out writes one; jointembed recipes lists those that come with the package"
        raise UsageError(name, "no file and no recipe has this name", fix)
    raise UsageError(name, "this recipe does not exist", did_you_mean(name, names()))
