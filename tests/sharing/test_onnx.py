"""Columns as ONNX graphs give the vectors of torch, for any number of rows and any length, without torch."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from shared_models import make_model, write_table

from jointembed import Category, EmbeddingBag, Encoder, Space, from_checkpoint
from jointembed.__main__ import main
from jointembed.errors import UsageError
from jointembed.files import sha256
from jointembed.space import golden

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
from jointembed.sharing import onnx_graphs  # noqa: E402
from jointembed.sharing.onnx_space import OnnxSpace, open_session  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
slow = pytest.mark.slow  # a graph takes seconds to trace
TOLERANCE = 1e-5
rng = np.random.default_rng(3)
COLUMNS = ["audio", "picture", "bitmap", "lit", "roll", "caption", "words", "genre", "facts", "year", "tempo", "place"]
COLUMNS += ["a/b..", "history", "song"]


@pytest.fixture(scope="module")
def home(tmp_path_factory, one_thread):
    folder = tmp_path_factory.mktemp("home")
    write_table(folder)
    make_model(folder).save(folder / "m.ckpt")
    assert main(["export", str(folder / "m.ckpt"), str(folder / "shared"), "--onnx", "--int8"]) == 0
    return folder


@pytest.fixture(scope="module")
def space(home):
    return Space.load(home / "m.ckpt")


@pytest.fixture(scope="module")
def config(home):
    return json.loads((home / "shared" / "onnx" / "config.json").read_text())


def run(home, config, column, tensors, kind=None):
    about = config["columns"][column]
    session = open_session(home / "shared" / "onnx" / (about[kind] if kind else about)["file"])
    return session.run(["vector"], tensors)[0]


def tokens(rows):
    """Token ids of several texts as a rectangle, and their mask."""
    longest = max(map(len, rows))
    ids = np.array([[*row, *[0] * (longest - len(row))] for row in rows], np.int64)
    mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in rows], np.int64)
    return {"input_ids": ids, "attention_mask": mask}


@slow
def test_all_that_can_be_exported_is(config):
    assert list(config["columns"]) == COLUMNS
    assert config["columns"]["audio"]["inputs"] == {
        "samples": {"dtype": "float32", "axes": ["batch", "samples"]},
        "starts": {"dtype": "int64", "axes": ["windows"]},
    }
    assert config["columns"]["audio"]["sample_rate"] == 8000


@slow
@pytest.mark.parametrize("seconds", [0.001, 0.05, 0.3, 0.49, 0.5, 0.99, 1.0, 1.49, 1.5, 1.51, 2.0, 3.7, 12.3])
def test_sounds_of_every_length(home, space, config, seconds):
    sounds = rng.normal(0, 0.1, (3, max(1, int(8000 * seconds)))).astype(np.float32)
    z = space.embed("audio", list(sounds))
    assert np.abs(run(home, config, "audio", {"samples": sounds}) - z).max() <= TOLERANCE
    assert np.abs(run(home, config, "audio", {"samples": sounds[:1]}) - z[:1]).max() <= TOLERANCE


@slow
@pytest.mark.parametrize("count", [1, 2, 7])
def test_pixels_of_any_number_of_images(home, space, config, count):
    images = [rng.integers(0, 256, (40, 30, 3), np.uint8) for _ in range(count)]
    pixels = np.stack([space.reader("picture").preprocess(image) for image in images])
    assert np.abs(run(home, config, "picture", {"pixels": pixels}) - space.embed("picture", images)).max() <= TOLERANCE
    bitmaps = rng.random((count, 12, 10)).astype(np.float32) * (rng.random((count, 12, 10)) > 0.5)
    for column in ("bitmap", "lit"):
        z = run(home, config, column, {"pixels": bitmaps.astype(np.float32)})
        assert np.abs(z - space.embed(column, list(bitmaps.astype(np.float32)))).max() <= TOLERANCE


TEXTS = ["jazz", "a slow waltz in the rain", "", "unheard", "blues " * 60, "two fiddles and a drum at night"]


@slow
@pytest.mark.parametrize("column", ["caption", "words"])
@pytest.mark.parametrize("texts", [TEXTS[:1], TEXTS[1:2], TEXTS[3:5], ["jazz", *TEXTS[3:]]])
def test_texts_of_several_lengths_in_a_batch(home, space, config, column, texts):
    ids = [list(space.reader(column).token_ids(text)) for text in texts]
    assert np.abs(run(home, config, column, tokens(ids)) - space.embed(column, texts)).max() <= TOLERANCE


@slow
def test_lists_of_categories(home, space, config):
    cells = ["jazz", ["waltz", "reel", "waltz", "unknown"], ["reel", "jazz"]]
    ids = [space.reader("genre").tokens(cell if isinstance(cell, list) else [cell])[0] for cell in cells]
    assert np.abs(run(home, config, "genre", tokens(ids)) - space.embed("genre", cells)).max() <= TOLERANCE


@slow
def test_numbers_in_the_units_of_the_table_and_missing_numbers(home, space, config):
    cells = [{"tempo": 66, "year": 1993}, {"tempo": 120.5, "year": None}, {"tempo": 1e29, "year": 2001}]
    numbers = np.array([[np.nan if cell[key] is None else cell[key] for key in ("tempo", "year")] for cell in cells])
    assert np.abs(run(home, config, "facts", {"numbers": numbers}) - space.embed("facts", cells)).max() <= TOLERANCE
    tempos = [10.0, 60, 67.3, 75, 1000]
    z = run(home, config, "tempo", {"numbers": np.array(tempos)[:, None]})
    assert np.abs(z - space.embed("tempo", tempos)).max() <= TOLERANCE


@slow
def test_int8_is_written_only_where_the_vectors_stay_the_same(home, space, config):
    with_int8 = [column for column in COLUMNS if "int8" in config["columns"][column]]
    assert "picture" in with_int8 and "genre" not in with_int8, "a table of vectors has no layers"
    onnx = OnnxSpace.load(home / "shared" / "onnx")
    for column in with_int8:
        cell = space.reader(column).example_cells()[0]
        z, exact = onnx.embed(column, [cell], precision="int8")[0], space.embed(column, [cell])[0]
        assert z @ exact / np.linalg.norm(z) >= 0.999
        assert column != "picture" or not np.array_equal(z, exact), "numbers may be whole multiples of a step"


@slow
def test_each_file_has_a_checksum(home, config):
    folder = home / "shared" / "onnx"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(config["files"]) == names - {"config.json"}
    for name, checksum in config["files"].items():
        assert sha256(folder / name) == checksum


@slow
def test_every_column_is_embedded_as_by_torch(home, space):
    onnx = OnnxSpace.load(home / "shared" / "onnx")
    assert (list(onnx.columns), list(onnx.fusions)) == ([*COLUMNS[:-1]], ["song"])
    for column, cells in golden.compute(space).items():
        assert np.abs(onnx.embed(column, cells.cells) - cells.vectors).max() <= TOLERANCE, column


@slow
def test_the_folder_is_a_model_and_its_card_says_what_the_graphs_are_worth(home, space):
    assert Space.load(home / "shared").fingerprint == space.fingerprint
    text = (home / "shared" / "README.md").read_text()
    assert "## ONNX" in text and "| history |" in text


@slow
def test_a_process_without_torch_runs_a_graph(home, space):
    z = space.embed("genre", ["jazz"])[0].tolist()
    number = space.reader("genre").tokens(["jazz"])[0][0]
    script = f"""
        import sys
        sys.modules["torch"] = None
        import numpy, onnxruntime
        session = onnxruntime.InferenceSession({str(home / "shared" / "onnx" / "genre.onnx")!r})
        one = numpy.ones((1, 1), numpy.int64)
        z = session.run(["vector"], {{"input_ids": {number} * one, "attention_mask": one}})[0][0]
        assert numpy.abs(z - {z!r}).max() <= {TOLERANCE}
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@slow
def test_a_tower_in_another_model_is_exported(home, tmp_path):
    space = Space(4, {"audio": from_checkpoint(str(home / "m.ckpt"), "audio", projection=[])})
    torch.manual_seed(0)
    space.build()
    results = onnx_graphs.write_graphs(space.eval(), {}, tmp_path / "onnx")
    assert [result.refusal for result in results] == [""]
    sounds = rng.normal(0, 0.1, (2, 9000)).astype(np.float32)
    z = open_session(tmp_path / "onnx" / "audio.onnx").run(["vector"], {"samples": sounds})[0]
    assert np.abs(z - space.embed("audio", list(sounds))).max() <= TOLERANCE


class Unexported(Encoder):
    """An encoder of somebody's own, without the methods that a graph needs."""

    def build(self, dim):
        self.width = dim
        self.table = torch.nn.Embedding(self.reader.size + 1, dim)

    def pieces(self, x):
        return self.table(x.values)


@slow
def test_an_encoder_that_cannot_be_exported_leaves_the_others_alone(tmp_path):
    encoders = {"own": Unexported(Category()), "genre": EmbeddingBag(Category())}
    for encoder in encoders.values():
        encoder.reader.fit(["a", "b"])
    fused = Space(4, encoders, fusions={"both": ["own", "genre"]})
    fused.build()
    results = {result.column: result for result in onnx_graphs.write_graphs(fused, {}, tmp_path / "onnx")}
    assert results["both"].refusal == "own: this part of it is not exported"
    assert results["own"].refusal.startswith("Unexported: ") and not results["genre"].refusal
    assert (tmp_path / "onnx" / "genre.onnx").is_file() and not (tmp_path / "onnx" / "own.onnx").exists()
    with pytest.raises(UsageError, match="Unexported"):
        encoders["own"].embed_tokens(torch.zeros(1, 1).long(), torch.ones(1, 1).bool())


def test_int8_alone_and_a_missing_package_are_refused(tmp_path, capsys, monkeypatch):
    space = Space(4, {"genre": EmbeddingBag(Category())})
    space.reader("genre").fit(["a", "b"])
    space.build()
    space.save(tmp_path / "m.ckpt")
    words = ["export", str(tmp_path / "m.ckpt"), str(tmp_path / "out")]
    assert main([*words, "--int8"]) == 2
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main([*words, "--onnx"]) == 2
    assert 'pip install "jointembed[onnx]"' in capsys.readouterr().err and not (tmp_path / "out").exists()
