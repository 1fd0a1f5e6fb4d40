"""What several tests share."""

import json
import os
import runpy
import sys
from pathlib import Path

import chromium
import pytest
from ci import skip_outside_ci

os.environ.setdefault("OMP_NUM_THREADS", "1")  # networks as small as those of the tests only wait for more threads

# Scripts, which read the command line, and what takes away from the importing process all that Windows lacks.
collect_ignore = ["benchmarks", "support/without_posix"]


def pytest_xdist_auto_num_workers(config):
    """The whole suite runs in three processes, which wait for others a third of the time; a few files run in one."""
    return 3 if config.args_source is pytest.Config.ArgsSource.TESTPATHS else 0


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("JOINTEMBED_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; JOINTEMBED_DATA names the folder")
    return folder


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "music"
    root.mkdir()
    return root


@pytest.fixture
def place(tmp_path):
    return tmp_path / "songs.index"


@pytest.fixture(scope="module")
def one_thread():
    """Networks as small as these only wait for more."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def home(tmp_path_factory, one_thread):
    """A folder a model, as `save_pretrained` writes it, and transformers' own objects."""
    import transformers
    from tiny_models import KINDS_OF_MODEL, shaken, tiny_model, words

    folder = tmp_path_factory.mktemp("models")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    own = {}
    for name in KINDS_OF_MODEL:
        model, extractor = tiny_model(name)
        shaken(model).save_pretrained(folder / name)
        extractor.save_pretrained(folder / name)
        own[name] = (model, extractor, words(folder / name) if name in ("clap", "fused") else None)
    return folder, own


@pytest.fixture(scope="module")
def spaces(home):
    """The space of each of them."""
    from tiny_models import KINDS_OF_MODEL

    from jointembed.pretrained.huggingface.adopt import convert_model

    return {name: convert_model(home[0] / name, name) for name in KINDS_OF_MODEL}


@pytest.fixture
def hook(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "support"), prepend=os.pathsep)


@pytest.fixture
def prepared(monkeypatch):
    """Runs the prepare.py of a recipe as from a command line, and gives the rows that it wrote into `out`."""

    def run(recipe, out, *arguments):
        script = Path(__file__).parents[1] / "recipes" / recipe / "prepare.py"
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, arguments)])
        runpy.run_path(str(script), run_name="__main__")
        return [json.loads(line) for line in (out / "rows.jsonl").read_text("utf-8").splitlines()]

    return run


@pytest.fixture(scope="session")
def browser():
    """The browser of playwright, or the Chromium of the system."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        skip_outside_ci("playwright is not installed")
    with sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        if browser is None:
            skip_outside_ci("no Chromium: run `playwright install chromium`, or install chromium with apt")
        yield browser
        browser.close()
