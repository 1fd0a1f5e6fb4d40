"""The folder for TensorBoard that a run leaves behind."""

import json

import numpy as np
import pytest
from PIL import Image

from jointembed import Space
from jointembed.__main__ import main

RECIPE = """
model:
  dim: 3
  metric: euclidean
  encoders:
    bitmap: {class_path: EmbeddingBag, init_args: {reader: {class_path: SparseImage, init_args: {shape: [8, 8]}}}}
  objectives:
    - {class_path: Match, init_args: {query: bitmap, target: digit, candidates: all, head: [8]}}
data: {batch_size: 16}
trainer:
  max_epochs: 1
  callbacks:
    - {class_path: jointembed.Project, init_args: {column: bitmap, max_points: MAX}}
"""


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for number in range(60):
        pixels = (rng.random((8, 8)) > 0.7) * 255
        pixels[number % 3 * 2] = 255
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{number}.png")
        split = "train" if number < 30 else "dev"
        rows.append({"id": f"r{number}", "split": split, "bitmap": f"{number}.png", "digit": f"kind {number % 3}"})
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return rows


def fit(tmp_path, max_points=5000):
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("MAX", str(max_points)))
    words = ["--data.table", str(tmp_path), "--trainer.default_root_dir", str(tmp_path / "run")]
    assert main(["fit", "-c", str(tmp_path / "recipe.yaml"), *words]) == 0
    return tmp_path / "run" / "projector"


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_a_run_leaves_its_vectors_with_images_and_a_view_by_label(table, tmp_path, capsys):
    folder = fit(tmp_path)
    assert f"{folder}: 30 points of bitmap" in capsys.readouterr().out
    heading, *lines = [line.split("\t") for line in (folder / "metadata.tsv").read_text().splitlines()]
    assert heading == ["digit", "id"] and lines == [[row["digit"], row["id"]] for row in table[30:]]
    vectors = np.loadtxt(folder / "tensors.tsv", np.float32, delimiter="\t")
    cells = [str(tmp_path / row["bitmap"]) for row in table[30:]]
    np.testing.assert_allclose(vectors, Space.load(tmp_path / "run" / "last.ckpt").embed("bitmap", cells), rtol=1e-6)
    (view,) = json.loads((folder / "bookmarks.json").read_text())
    assert view["selectedColorOptionName"] == "digit" and view["dataSetDimensions"] == [30, 3]
    points = [[point[f"pca-{at}"] for at in range(3)] for point in view["projections"]]
    np.testing.assert_allclose(points, vectors, atol=1e-5)
    assert (folder / "sprite.png").is_file() and "bookmarks.json" in (folder / "projector_config.pbtxt").read_text()


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_of_many_rows_a_sample_is_shown(table, tmp_path):
    lines = (fit(tmp_path, 7) / "metadata.tsv").read_text().splitlines()[1:]
    numbers = [int(line.split("\t")[1][1:]) for line in lines]
    assert len(set(numbers)) == 7 and numbers == sorted(numbers) and min(numbers) >= 30


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_a_column_without_rows_is_told_in_one_line(table, tmp_path, capsys):
    recipe = RECIPE.replace("MAX", "9").replace("{column: bitmap", "{column: bitmap, split: test")
    (tmp_path / "recipe.yaml").write_text(recipe)
    words = ["--data.table", str(tmp_path), "--trainer.default_root_dir", str(tmp_path / "run")]
    assert main(["fit", "-c", str(tmp_path / "recipe.yaml"), *words]) == 2
    assert "only 0 rows of the split test" in capsys.readouterr().err
