"""Who may import whom, and what a look-up must not load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "jointembed"
HEAVY = {"torch", "lightning", "torchaudio", "torchvision", "transformers"}
WITHOUT_TORCH = "analyze audio errors evaluation files index ingest serve values web".split()


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


def test_rooms_without_torch_import_none():
    for folder in WITHOUT_TORCH:
        for path in files(folder) or [PACKAGE / f"{folder}.py"]:
            assert not {name.split(".")[0] for name in imported(path)} & HEAVY, path


def test_cli_and_demo_import_the_halves_inside_functions():
    for path in [*files("cli"), *files("demo")]:
        heavy = {name for name in imported(path, inside_functions=False) if name.split(".")[0] in HEAVY}
        assert not heavy, path


@pytest.mark.parametrize(
    "code", ["import jointembed", "import jointembed.index.index", "import jointembed.cli.similar"]
)
def test_a_look_up_loads_no_torch(code):
    script = f"{code}; import sys; print(sorted(set({sorted(HEAVY)!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
