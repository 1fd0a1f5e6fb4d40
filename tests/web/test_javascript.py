"""The page's modules: unit tests under node, and types checked by TypeScript."""

import shutil
import subprocess
from pathlib import Path

import pytest
from ci import skip_outside_ci

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture(scope="module")
def node():
    return shutil.which("node") or skip_outside_ci("node is not installed")


@pytest.fixture(scope="module")
def tsc(request):
    """TypeScript: that of the system, or the pinned version."""
    return shutil.which("tsc") or request.getfixturevalue("npm_packages") / ".bin" / "tsc"


def test_modules_pass_their_unit_tests(node):
    files = sorted(map(str, HERE.glob("*.test.mjs")))
    assert files
    done = subprocess.run([node, "--test", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


def test_modules_pass_the_type_checker(tsc):
    done = subprocess.run([tsc, "-p", ROOT / "jointembed" / "web" / "jsconfig.json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


def test_exported_script_is_valid(node, tmp_path):
    from jointembed.web.export import bundle

    (tmp_path / "page.js").write_text(bundle())
    done = subprocess.run([node, "--check", tmp_path / "page.js"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
