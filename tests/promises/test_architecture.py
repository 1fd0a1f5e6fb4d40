"""Who may import whom, and what a look-up must not load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "jointembed"
HEAVY = {"torch", "lightning", "torchaudio", "torchvision", "transformers"}
FLOOR = {"errors", "files", "sound", "decode", "cells", "tables", "machine"}
LEARN = ["ragged", "readers", "encoders", "objectives", "space"]


def imported(path: Path, inside_functions: bool = True) -> set[str]:
    """The modules that a file imports, those of the package as jointembed.x.y."""
    tree = ast.parse(path.read_text())
    package = ("jointembed", *path.relative_to(PACKAGE).parts[:-1])
    nodes = ast.walk(tree) if inside_functions else tree.body
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = ".".join([*base, *([node.module] if node.module else [])])
            found |= {name, *(f"{name}.{alias.name}" for alias in node.names)}
    return found


def files(folder: str) -> list[Path]:
    return sorted((PACKAGE / folder).rglob("*.py"))


def test_floor_imports_nothing_of_ours_but_itself_and_no_torch():
    for name in FLOOR:
        paths = files(name) or [PACKAGE / f"{name}.py"]
        for path in paths:
            ours = {one.split(".")[1] for one in imported(path) if one.startswith("jointembed.")}
            assert ours <= FLOOR, path
            assert not {one.split(".")[0] for one in imported(path)} & HEAVY, path


def test_find_knows_neither_torch_nor_learn_nor_commands():
    for path in files("find"):
        names = imported(path)
        assert not {name.split(".")[0] for name in names} & HEAVY, path
        assert not [name for name in names if name.startswith(("jointembed.learn", "jointembed.cli"))], path


def test_learn_knows_of_find_only_what_its_callbacks_evaluate():
    for path in files("learn"):
        names = imported(path)
        assert not [name for name in names if name.startswith("jointembed.cli")], path
        found = [name for name in names if name.startswith("jointembed.find")]
        assert not found or path.name == "callbacks.py", path


def test_learn_builds_upwards():
    order = {name: place for place, name in enumerate(LEARN)}
    for path in files("learn"):
        own = path.relative_to(PACKAGE / "learn").parts[0].removesuffix(".py")
        if own not in order:
            continue
        tree = ast.parse(path.read_text())
        typing = [node for node in tree.body if isinstance(node, ast.If)]
        for node in typing:
            tree.body.remove(node)  # what only a type checker sees is no dependency
        source = ast.unparse(tree)
        for other in LEARN[order[own] + 1 :]:
            assert f"from .{other} " not in source and f"from ..{other} " not in source, (path, other)
    assert not {"jointembed.data.table"} & imported(PACKAGE / "learn" / "space.py")
    assert not {"jointembed.space.space"} & imported(PACKAGE / "learn" / "table.py")


def test_commands_and_demo_import_the_halves_inside_functions():
    for path in [*files("commands"), *files("demo")]:
        heavy = {name for name in imported(path, inside_functions=False) if name.startswith("jointembed.learn")}
        assert not heavy, path


@pytest.mark.parametrize(
    "code", ["import jointembed", "import jointembed.index.index", "import jointembed.cli.similar"]
)
def test_a_look_up_loads_no_torch(code):
    script = f"{code}; import sys; print(sorted(set({sorted(HEAVY)!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_rooms_have_not_outgrown_300_lines():
    long = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert not {name: lines for name, lines in long.items() if lines > 340}
