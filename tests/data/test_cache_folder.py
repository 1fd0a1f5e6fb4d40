"""Caches are listed, shared by the trials of a sweep, and removed only if no process uses them."""

import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image as Picture

from jointembed import Image
from jointembed.__main__ import main
from jointembed.data import cache_folder
from jointembed.data.cache_folder import format_size, list_caches, parse_size, prune
from jointembed.data.feature_cache import FeatureCache
from jointembed.data.table_file import FOLDER
from jointembed.errors import UsageError

pytestmark = [pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"), pytest.mark.usefixtures("one_thread")]

RECIPE = """\
model:
  dim: 4
  encoders:
    image:
      class_path: ConvNet
      init_args: {reader: {class_path: Image, init_args: {size: [8, 8]}}, channels: [4], width: 4, axis: null}
    genre: {class_path: EmbeddingBag, init_args: {reader: {class_path: Category}}}
  objectives:
    - {class_path: Match, init_args: {query: image, target: genre, candidates: all}}
"""
DAY = 86_400


@pytest.fixture
def pictures(tmp_path):
    """Paths of images, each another."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(8)]
    for path in paths:
        Picture.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(path)
    return [str(path) for path in paths]


def fill(folder, size, paths, days=0.0):
    """The cache of a reader, used last some days ago; nothing uses it."""
    cache = FeatureCache(folder / "features", Image([size, size]))
    cache.fill(paths)
    data = cache.data
    del cache
    moment = time.time() - days * DAY
    os.utime(data.with_name(data.name + ".use"), (moment, moment))
    return data


def names(folder):
    return {item.path.name for item in list_caches(folder)}


def test_caches_are_listed_with_what_they_hold(tmp_path, pictures, capsys):
    fill(tmp_path / FOLDER, 8, pictures, days=3)
    assert main(["cache", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "Image(size=[8, 8]" in printed and "3 days ago" in printed and "6." in printed
    assert main(["cache", pictures[0], "--json"]) == 0
    (item,) = json.loads(capsys.readouterr().out)
    assert item["arrays"] == 8 and item["bytes"] > 8 * 3 * 64 * 4 and not item["removed"]
    assert main(["cache", str(tmp_path / FOLDER)]) == 0 and "Image(" in capsys.readouterr().out
    assert main(["cache", str(tmp_path / FOLDER / "features")]) == 0 and "no caches" in capsys.readouterr().out


def test_old_caches_and_those_over_a_size_are_removed_by_their_last_use(tmp_path, pictures):
    old, middle, new = (fill(tmp_path, size, pictures, days) for size, days in ((8, 40.0), (9, 20.0), (10, 0.0)))
    assert prune(list_caches(tmp_path), None, None) == {} and len(names(tmp_path)) == 3
    assert list(prune(list_caches(tmp_path), 30, None)) == [old]
    assert names(tmp_path) == {middle.name, new.name} and not old.with_suffix(".list").exists()
    size = next(item.size for item in list_caches(tmp_path) if item.path == new)
    assert list(prune(list_caches(tmp_path), None, size)) == [middle] and names(tmp_path) == {new.name}
    assert sorted(path.suffix for path in (tmp_path / "features").iterdir()) == [".about", ".bin", ".list", ".use"]


def test_a_cache_in_use_stays_and_goes_on(tmp_path, pictures):
    cache = FeatureCache(tmp_path / "features", Image([8, 8]))
    cache.fill(pictures[:4])
    assert prune(list_caches(tmp_path), 0, 0) == {cache.data: "in use"}
    cache.fill(pictures)
    assert cache.get(cache.key(pictures[7])) is not None
    data = cache.data
    del cache
    assert prune(list_caches(tmp_path), 0, 0)[data] != "in use" and not names(tmp_path)


READ = """
import sys
from pathlib import Path
from jointembed import Image
from jointembed.data.feature_cache import FeatureCache
cache = FeatureCache(Path(sys.argv[1]), Image([8, 8]))
print("open", flush=True)
sys.stdin.readline()
cache.fill(sys.argv[2:])
print(sum(cache.get(cache.key(path)) is not None for path in sys.argv[2:]), flush=True)
sys.stdin.readline()
"""


def test_another_process_keeps_its_cache_until_it_dies(tmp_path, pictures):
    words = [sys.executable, "-c", READ, str(tmp_path / "features"), *pictures]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "open\n"
        fill(tmp_path, 8, pictures[:4])
        assert set(prune(list_caches(tmp_path), 0, 0).values()) == {"in use"}
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline().startswith("Reading") and process.stdout.readline() == "8\n"
        assert set(prune(list_caches(tmp_path), 0, 0).values()) == {"in use"}
        process.kill()
        process.wait()
    assert set(prune(list_caches(tmp_path), 0, 0).values()) != {"in use"} and not names(tmp_path)


def test_what_nothing_will_use_again_is_removed_first(tmp_path, pictures):
    folder = tmp_path / FOLDER
    current = fill(folder, 8, pictures)
    for suffix in (".bin", ".list"):
        shutil.copy(current.with_suffix(suffix), folder / "features" / f"vectors-abc-torch-1.0-0.0.1{suffix}")
    (folder / "columns" / f"gone.jsonl-{'0' * 32}").mkdir(parents=True)
    (tmp_path / "rows.csv").write_text("id\n1\n")
    (folder / f"rows.csv-{'1' * 16}.parquet").write_bytes(b"old")
    fates = {path.name: reason for path, reason in prune(list_caches(folder), None, None).items()}
    assert fates == {
        "vectors-abc-torch-1.0-0.0.1.bin": "made by torch 1.0 and jointembed 0.0.1",
        f"gone.jsonl-{'0' * 32}": "gone.jsonl does not exist any more",
        f"rows.csv-{'1' * 16}.parquet": "rows.csv has changed",
    }
    assert names(folder) == {current.name}


def test_a_line_says_when_caches_take_much_of_the_disk(tmp_path, pictures, capsys, monkeypatch):
    fill(tmp_path, 8, pictures)
    assert "warning" not in capsys.readouterr().err
    monkeypatch.setattr(cache_folder, "MAX_SHARE_OF_FREE_SPACE", 0.0)
    fill(tmp_path, 9, pictures)
    assert "jointembed cache" in capsys.readouterr().err


def test_trials_of_a_sweep_share_the_caches(tmp_path, pictures, capsys, monkeypatch):
    pytest.importorskip("optuna")
    monkeypatch.chdir(tmp_path)
    rows = [
        {"id": str(n), "split": "dev" if n > 5 else "train", "image": os.path.basename(path), "genre": "xy"[n % 2]}
        for n, path in enumerate(pictures)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    fit = "-c tiny --data.table rows.jsonl --trainer.accelerator cpu"
    words = ["--study", "sqlite:///x.db", "--set", "model.dim=4:12", "--trials", "2", "--metric", "dev/loss"]
    assert main(["sweep", "recipe.yaml", *words, "--fit", fit]) == 0, capsys.readouterr().err
    (item,) = [item for item in list_caches(tmp_path / FOLDER) if item.path.suffix == ".bin"]
    assert item.arrays == len(pictures) and not list(tmp_path.glob("x.trials/*/**/*.bin"))
    assert item.path.stat().st_mtime < (tmp_path / "x.trials" / "0" / "metrics.csv").stat().st_mtime


@pytest.mark.parametrize(("text", "size"), [("20GB", 20 * 10**9), ("1.5 g", 1.5e9), ("7", 7), ("3kB", 3000)])
def test_sizes(text, size):
    assert parse_size(text, "--max-size") == size and parse_size(format_size(size), "x") == size
    for wrong in ("", "GB", "-3MB", "1 apple"):
        with pytest.raises(UsageError, match="must be a size"):
            parse_size(wrong, "--max-size")


@pytest.mark.parametrize("words", [["absent"], [".", "--days", "3"], [".", "--prune", "--days", "-1"],
                                   [".", "--prune", "--max-size", "many"]])  # fmt: skip
def test_mistakes(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["cache", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1
