"""The imports of the package: their direction, no circles, and what a look-up must not load."""

import ast
import importlib.util
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "jointembed"
TORCH = {"torch", "lightning", "torchaudio", "torchvision", "transformers"}
WITHOUT_TORCH = {
    "analyze",
    "audio",
    "blas",
    "client",
    "errors",
    "evaluation",
    "files",
    "index",
    "ingest",
    "serve",
    "values",
    "web",
}
# A room may import the rooms that its own row and the rows above it name; a row's rooms are independent of each other,
# unless they are joined by a plus.
LAYERS = [
    "errors",
    "files values arguments words client display blas",
    "ragged config audio",
    "readers recipe_tools",
    "encoders",
    "space",
    "pretrained objectives",
    "data",
    "evaluation",
    "sharing",
    "training index",
    "ingest analyze adapters",
    "web",
    "indexing serve tuning recipe_writer",
    "demo",
    "cli",
]


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    names = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("jointembed", *path.relative_to(PACKAGE).with_suffix("").parts)
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imported(name: str) -> set[str]:
    """The modules that a module imports anywhere in its file: at the top, in functions, for the type checker alone.

    Names of other packages are given as their first part.
    """
    path = modules()[name]
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    targets = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            targets |= {alias.name if alias.name in modules() else alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            if source.split(".")[0] != "jointembed":
                targets.add(source.split(".")[0])
                continue
            for alias in node.names:
                member = f"{source}.{alias.name}"
                targets.add(member if member in modules() else source)
    return targets - {name}


def room(name: str) -> str:
    """The folder or file of the package that a module stands in."""
    return name.split(".")[1] if "." in name else ""


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or not: strongly connected components (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in sorted(arrows[name]):
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                groups.append(sorted(group))

    for name in arrows:
        if name not in index:
            visit(name)
    return groups


@cache
def arrows() -> dict[str, frozenset[str]]:
    return {name: frozenset(imported(name) & set(modules())) for name in modules()}


def test_no_modules_import_each_other_in_a_circle():
    assert not circles({name: set(targets) for name, targets in arrows().items()})


def test_a_circle_would_be_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def test_imports_go_down_the_layers():
    level = {name: number for number, names in enumerate(LAYERS) for name in names.split()}
    rooms = {room(name) for name in modules()} - {"", "__main__"}
    assert rooms <= set(level), "a new room needs its layer"
    wrong = [
        (name, target)
        for name, targets in arrows().items()
        for target in targets
        if room(name) in level and room(target) in level and room(name) != room(target)
        if level[room(target)] >= level[room(name)]
    ]
    assert not wrong


@pytest.mark.parametrize("name", sorted(WITHOUT_TORCH))
def test_rooms_without_torch_import_none(name):
    for module in modules():
        if room(module) == name:
            assert not imported(module) & TORCH, module


def test_cli_and_demo_import_torch_inside_functions():
    for name, path in modules().items():
        if room(name) in {"cli", "demo"}:
            tree = ast.parse(path.read_text("utf-8"))
            top = {
                alias.name.split(".")[0]
                for node in tree.body
                if isinstance(node, ast.Import | ast.ImportFrom)
                for alias in ([ast.alias(node.module or "")] if isinstance(node, ast.ImportFrom) else node.names)
            }
            assert not top & TORCH, name


def test_sqlite_stays_behind_the_backends():
    allowed = "jointembed.index.backends"
    assert not [name for name in modules() if "sqlite3" in imported(name) and not name.startswith(allowed)]


def test_concrete_classes_are_asked_what_they_need_and_not_what_they_are():
    """`isinstance` of a reader, encoder or objective stands in that class's own file only."""
    kinds = {}
    for name, path in modules().items():
        if room(name) in {"readers", "encoders", "objectives", "pretrained"}:
            for node in ast.parse(path.read_text("utf-8")).body:
                if isinstance(node, ast.ClassDef):
                    kinds[node.name] = name
    for base in ("Reader", "Encoder", "Objective"):
        del kinds[base]
    wrong = []
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "issubclass"):
                named = {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)}
                wrong += [(name, kind) for kind in named & set(kinds) if kinds[kind] != name]
    assert not wrong


@pytest.mark.parametrize(
    "code", ["import jointembed", "import jointembed.index.index", "import jointembed.cli.similar"]
)
def test_a_look_up_loads_no_torch(code):
    script = f"{code}; import sys; print(sorted(set({sorted(TORCH)!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_names_that_recipes_and_benchmarks_import_exist():
    scripts = [*(ROOT / "recipes").rglob("*.py"), *(ROOT / "tests/benchmarks").glob("*.py")]
    imports = {
        (node.module, alias.name)
        for script in scripts
        for node in ast.walk(ast.parse(script.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "jointembed"
        for alias in node.names
    }
    missing = [f"{module}.{name}" for module, name in sorted(imports) if not is_defined(module, name)]
    assert imports and not missing, missing


def is_defined(module, name):
    """Whether a module has a name, or a package a module of this name."""
    if importlib.util.find_spec(module) is None:
        return False
    content = importlib.import_module(module)
    submodule = f"{module}.{name}"
    return hasattr(content, name) or (hasattr(content, "__path__") and importlib.util.find_spec(submodule) is not None)
