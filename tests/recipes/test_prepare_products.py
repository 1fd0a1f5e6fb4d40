"""The table of products that do not exist."""

import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image


@pytest.fixture
def prepare(prepared):
    return lambda out, *options: prepared("products", out, out, *options)


def test_files_depend_on_the_seed(prepare, tmp_path):
    for name in ("one", "two"):
        prepare(tmp_path / name, "--products", "12")
    prepare(tmp_path / "other", "--products", "12", "--seed", "1")
    first, second, third = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("one", "two", "other")
    )
    assert first == second and len(first) > 10
    assert first[Path("rows.jsonl")] != third[Path("rows.jsonl")]


def test_products_have_at_least_one_modality(prepare, tmp_path):
    rows = prepare(tmp_path / "out", "--products", "200")
    assert len(rows) == 200 and len({row["id"] for row in rows}) == 200
    assert {row["split"] for row in rows} == {"train", "dev", "test"}
    for column in ("text", "image", "audio", "category", "price"):
        share = sum(column in row for row in rows) / len(rows)
        assert 0.6 < share < 0.82, column
    assert all({"text", "image", "audio"} & set(row) for row in rows)


def test_modalities_reflect_the_product(prepare, tmp_path):
    rows = prepare(tmp_path / "out", "--products", "150")
    red = {"red": [], "blue": []}
    rings, prices = defaultdict(list), defaultdict(list)
    for row in rows:
        words = set(row.get("text", "").split())
        if "image" in row:
            pixels = np.asarray(Image.open(tmp_path / "out" / row["image"]), float)
            assert pixels.shape == (48, 48, 3)
            for colour in words & set(red):
                red[colour].append(pixels[..., 0].mean() - pixels[..., 2].mean())
        if "audio" in row:
            samples, rate = soundfile.read(tmp_path / "out" / row["audio"])
            assert (rate, len(samples)) == (16000, 8000) and 0.05 < np.abs(samples).max() <= 1
            late = np.square(samples[2000:]).sum() / np.square(samples).sum()
            for material in words & {"wood", "wooden", "metal", "steel"}:
                rings[material[:4] in ("wood",)].append(late)
        if "price" in row and "category" in row:
            prices[row["category"]].append(row["price"])
    assert min(red["red"]) > max(red["blue"])
    assert max(rings[True]) < min(rings[False]), "metal rings longer than wood"
    assert np.median(prices["table"]) > np.median(prices["mug"]) and all(
        math.isfinite(price) and price > 0 for group in prices.values() for price in group
    )


def test_too_few_products_are_refused(prepare, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        prepare(tmp_path / "out", "--products", "3")
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1 and "10 or more" in error
